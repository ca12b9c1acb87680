"""A number that the type of its field does not hold is refused, whatever the form that it is written in."""

from __future__ import annotations

from itertools import pairwise

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.column_values import checked_column
from esper_telemetry.schema.planes import pack_integers
from esper_telemetry.v1 import record_pb2

_TYPE = FieldDescriptor
I64 = 1 << 63
# What a column of each type may state; wide ones without a sign as their two's complement.
HOLDS = {
    _TYPE.TYPE_INT32: (-(1 << 31), 1 << 31),
    _TYPE.TYPE_UINT32: (0, 1 << 32),
    _TYPE.TYPE_FIXED32: (0, 1 << 32),
    _TYPE.TYPE_ENUM: (-(1 << 31), 1 << 31),
    _TYPE.TYPE_SINT64: (-I64, I64),
    _TYPE.TYPE_UINT64: (-I64, I64),
}
NUMBERS = st.one_of(*(st.integers(-(1 << bits), 1 << bits) for bits in (3, 8, 16, 31, 32, 33, 62)))


def stated(values: list[int], kind: int, *, steps: bool) -> record_pb2.Column:
    numbers = [later - one for one, later in pairwise(values)] if steps else values
    planes = pack_integers(numbers)
    form = {"first": values[0], "int_steps": planes} if steps else {"ints": planes}
    return record_pb2.Column(field=1, type=kind, **form)


@pytest.mark.parametrize("steps", [False, True], ids=["numbers", "steps"])
@pytest.mark.parametrize("kind", HOLDS)
@given(values=st.lists(NUMBERS, min_size=2, max_size=6))
def test_numbers_are_held_against_the_type_of_the_field(kind, steps, values):
    least, limit = HOLDS[kind]
    column = stated(values, kind, steps=steps)
    if least <= min(values) and max(values) < limit:
        found = checked_column(column, len(values), "here").values()
        assert found == [value % (1 << 64) if kind == _TYPE.TYPE_UINT64 else value for value in values]
    else:
        with pytest.raises(CorruptRecordError, match="here: column 1 holds numbers that a field of type"):
            checked_column(column, len(values), "here")


def test_an_error_names_all_that_a_column_has():
    column = record_pb2.Column(
        field=7, type=_TYPE.TYPE_DOUBLE, doubles=bytes(16), ints=b"\1\1", first=3, indices=b"\0\0"
    )
    with pytest.raises(CorruptRecordError) as refused:
        checked_column(column, 2, "here")
    expected = "here: column 7 of type 1 holds ['doubles', 'ints'] and a first number and indices"
    assert expected in str(refused.value)
