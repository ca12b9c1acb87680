"""A column of few values is the column that it stands for, and is written as that is, byte for byte."""

from __future__ import annotations

import random

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_telemetry.schema.dictionary_column import MOST_VALUES, column_of
from esper_telemetry.schema.event_block import Field, encode_column

_TYPE = FieldDescriptor
NUMBERS = {
    _TYPE.TYPE_INT64: st.integers(-(1 << 63), (1 << 63) - 1),
    _TYPE.TYPE_UINT64: st.integers(0, (1 << 64) - 1),
    _TYPE.TYPE_UINT32: st.integers(0, 63),
}


def drawn_from(values, count, seed):
    """Indices in which each value comes first in the order of its place, as column_of asks for."""
    drawn, seen, indices = random.Random(seed), 0, []
    for _ in range(count):
        index = drawn.randrange(min(seen + 1, len(values)))
        seen = max(seen, index + 1)
        indices.append(index)
    return values[: max(indices) + 1], bytes(indices)


@st.composite
def columns(draw, values):
    some = draw(st.lists(values, min_size=1, max_size=MOST_VALUES))
    return drawn_from(some, draw(st.integers(1, 700)), draw(st.integers(0, 1 << 30)))


@pytest.mark.parametrize("kind", NUMBERS)
@settings(deadline=None)
@given(st.data())
def test_numbers_are_written_as_the_list_of_them_is(kind, data):
    values, indices = data.draw(columns(NUMBERS[kind]))
    whole = [values[index] for index in indices]
    column = column_of(values, indices)
    assert list(column) in (whole, whole[:1])
    assert encode_column(Field(3, kind), column) == encode_column(Field(3, kind), whole)


@settings(deadline=None)
@given(columns(st.text(st.characters(exclude_categories=["Cs"]), max_size=2)))
def test_texts_are_written_as_the_list_of_them_is(drawn):
    values, indices = drawn
    field = Field(2, _TYPE.TYPE_STRING)
    whole = [values[index] for index in indices]
    column = column_of(values, indices)
    assert encode_column(field, column) == encode_column(field, whole)


def test_what_all_share_is_one_value():
    assert column_of([7, 7, 7], bytes([0, 1, 2, 1])) == [7]
    assert column_of(["cpu"], bytes(5)) == ["cpu"]


def test_equal_values_are_one_and_the_rest_keeps_its_places():
    column = column_of([5, 6, 5, 8], bytes([0, 1, 2, 3, 3, 0]))
    assert (column.values, column.indices) == ([5, 6, 8], bytes([0, 1, 0, 2, 2, 0]))
    assert list(column) == [5, 6, 5, 8, 8, 5]
    assert (len(column), column[3], column[1:4]) == (6, 8, [6, 5, 8])
