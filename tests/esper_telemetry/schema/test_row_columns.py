"""Rows become the same columns whether their numbers are packed at once or taken name by name."""

from __future__ import annotations

import math
import struct

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_telemetry import events
from esper_telemetry.schema.event_block import Field, encode_column
from esper_telemetry.schema.row_columns import ColumnSource, RowColumns, RowSources
from esper_telemetry.schema.row_shape import shape_of, write_shape

_TYPE = FieldDescriptor
DOUBLES = st.one_of(st.floats(), st.floats(width=32), st.booleans(), st.integers(-(1 << 60), 1 << 60))
SOURCES = {
    "real": (_TYPE.TYPE_DOUBLE, None, DOUBLES),
    "again": (_TYPE.TYPE_DOUBLE, None, st.sampled_from([0.0, -0.0, math.nan, math.inf, 0.1])),
    "single": (_TYPE.TYPE_FLOAT, None, st.floats(width=32)),
    "whole": (_TYPE.TYPE_INT64, None, st.integers(-(1 << 63), (1 << 63) - 1)),
    "wide": (_TYPE.TYPE_UINT64, None, st.integers(0, (1 << 64) - 1)),
    "flag": (_TYPE.TYPE_BOOL, None, st.booleans()),
    "count": (_TYPE.TYPE_UINT32, int, st.booleans()),
    "text": (_TYPE.TYPE_STRING, None, st.sampled_from(["", "a", "ß"])),
    "label": (_TYPE.TYPE_ENUM, {"a": 3, "b": -1}.__getitem__, st.sampled_from("ab")),
}
OF = RowSources(ColumnSource(Field(at, SOURCES[name][0]), name, SOURCES[name][1]) for at, name in enumerate(SOURCES, 1))
ROW = st.fixed_dictionaries({name: values for name, (_, _, values) in SOURCES.items()})


def bits_of(source):
    """What tells values of a column apart: no NaN equals itself, and zeros of both signs are equal."""
    return (
        struct.Struct("<d").pack if source.field.type in (_TYPE.TYPE_DOUBLE, _TYPE.TYPE_FLOAT) else lambda value: value
    )


@settings(deadline=None)
@given(st.lists(ROW, min_size=1, max_size=40), st.booleans())
def test_a_column_has_the_value_of_each_row_and_is_written_as_a_list_of_them(rows, constant):
    rows = [rows[0]] * 600 if constant else rows
    for source, column in zip(OF, RowColumns(OF, rows, lambda: None), strict=True):
        expected = source.column(rows)
        assert list(map(bits_of(source), column)) == list(map(bits_of(source), expected))
        assert encode_column(source.field, column) == encode_column(source.field, expected)


def test_names_may_come_in_any_order_in_a_row():
    rows = [{"entropy": float(at), "policy_loss": -1.0, "lr": 0.5, "value_loss": 2.0 * at} for at in range(50)]
    rows[::2] = [dict(reversed(row.items())) for row in rows[::2]]
    shape = write_shape(events.PpoUpdateCompleted.DESCRIPTOR, None, *shape_of(rows[0]))
    names = [source.name for source in shape.sources]
    assert dict(zip(names, map(list, shape.columns(rows)), strict=True)) == {
        name: [row[name] for row in rows] for name in names
    }


def test_others_may_run_while_many_rows_are_packed():
    pauses = []
    rows = [{"real": 1.0, "again": 2.0, "whole": 3, "wide": 4}] * 5000
    four = RowSources(source for source in OF if source.name in rows[0])
    assert [len(column) for column in RowColumns(four, rows, lambda: pauses.append(1))] == [5000] * 4
    assert len(pauses) >= 5
    assert [list(column) for column in RowColumns(four, rows[:2], pytest.fail)] == [
        [1.0] * 2,
        [2.0] * 2,
        [3] * 2,
        [4] * 2,
    ]
