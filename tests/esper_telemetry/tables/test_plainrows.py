"""Every Arrow type has a plain value: times with all their digits, maps as objects, exact numbers as numbers."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from esper_telemetry.tables.plainrows import plain_rows, plain_values

TIMES = [1_795_918_882_819_487_017, None, -1]
CASES = [
    (
        pa.array(TIMES, pa.timestamp("ns", "UTC")),
        ["2026-11-29T02:21:22.819487017Z", None, "1969-12-31T23:59:59.999999999Z"],
    ),
    (pa.array([1_500], pa.timestamp("ms")), ["1970-01-01T00:00:01.500"]),
    (pa.array([3], pa.timestamp("s", "UTC")), ["1970-01-01T00:00:03Z"]),
    (pa.array([1_500_000_000, None], pa.duration("ns")), [1.5, None]),
    (pa.array(["a", None]).dictionary_encode(), ["a", None]),
    (pa.array([Decimal("3.00"), Decimal("0.25")], pa.decimal128(9, 2)), [3, 0.25]),
    (pa.array([[(True, 1)], None], pa.map_(pa.bool_(), pa.int64())), [{"True": 1}, None]),
    (pa.array([[{"at": 0}]], pa.list_(pa.struct([("at", pa.date32())]))), [[{"at": "1970-01-01"}]]),
    (pa.array([b"\xff"]), [b"\xff"]),
    (pa.array([2**64 - 1], pa.uint64()), [2**64 - 1]),
    (pa.array([pa.MonthDayNano([1, 2, 500_000_000])]), ["P1M2DT0.5S"]),
]


@pytest.mark.parametrize(("column", "expected"), CASES, ids=[str(column.type) for column, _ in CASES])
def test_a_column_has_plain_values(column, expected):
    assert plain_values(column) == expected
    assert plain_values(pa.chunked_array([column])) == expected


@pytest.mark.parametrize(
    ("kind", "keys"), [(pa.string(), ["b", "a", "C"]), (pa.int64(), [10, 9, -1]), (pa.float64(), [2.5, 0.5, 1.5])]
)
def test_entries_of_a_map_are_in_the_order_of_their_keys_wherever_the_map_is(kind, keys):
    entries = [(key, at) for at, key in enumerate(keys)]
    shown = [str(key) for key in sorted(keys)]
    for turned in (entries, entries[::-1], entries[1:] + entries[:1]):
        (alone,) = plain_values(pa.array([turned], pa.map_(kind, pa.int64())))
        (inside,) = plain_values(pa.array([[{"m": turned}]], pa.list_(pa.struct([("m", pa.map_(kind, pa.int64()))]))))
        assert list(alone) == list(inside[0]["m"]) == shown


def test_rows_go_across_the_columns():
    assert list(plain_rows(pa.table({"a": [1, 2], "b": ["x", None]}))) == [(1, "x"), (2, None)]
