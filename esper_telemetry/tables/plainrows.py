"""Rows of an Arrow table as plain values that JSON and CSV can hold, for what is shown or exported as text.

Times are RFC 3339 in UTC with all their digits, maps are objects in the order of their keys, exact numbers are numbers.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from esper_telemetry.decode import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_NANOS = 10**9


def plain_rows(table: pa.Table | pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    """Yield the values of each row, in the order of the columns; None where one is NULL."""
    return zip(*(plain_values(column) for column in table.columns), strict=True)


def plain_values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return the values of a column as None, bool, int, float, str, bytes, list or dict."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_timestamp(kind):
        per_second = _PER_SECOND[kind.unit]
        return [_moment(value, per_second, kind.tz) for value in column.cast(pa.int64()).to_pylist()]
    if pa.types.is_duration(kind):
        scale = _PER_SECOND[kind.unit]
        return [None if value is None else value / scale for value in column.cast(pa.int64()).to_pylist()]
    values: list[Any] = column.to_pylist()
    if pa.types.is_primitive(kind) and not pa.types.is_temporal(kind) and not pa.types.is_decimal(kind):
        return values
    return [_plain(value, kind) for value in values]


def _moment(value: int | None, per_second: int, zone: str | None) -> str | None:
    if value is None:
        return None
    text = rfc3339(value * (_NANOS // per_second))
    digits = {1: 0, 10**3: 3, 10**6: 6, 10**9: 9}[per_second]
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return whole + (f".{fraction[:digits]}" if digits else "") + ("Z" if zone else "")


def _has_order(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_boolean(kind))


def _text_of_key(entry: tuple[Any, Any]) -> str:
    return str(entry[0])


def _plain(value: Any, kind: pa.DataType) -> Any:  # noqa: PLR0911 - a case for each family of types
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if pa.types.is_map(kind):
        # Protobuf keeps no order of a map: without one, the same record would be shown in another way each time.
        ordered = sorted(value, key=itemgetter(0) if _has_order(kind.key_type) else _text_of_key)
        return {str(_plain(key, kind.key_type)): _plain(item, kind.item_type) for key, item in ordered}
    if pa.types.is_struct(kind):
        return {field.name: _plain(value[field.name], field.type) for field in kind}
    if isinstance(value, list):
        return [_plain(item, kind.value_type) for item in value]
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, pa.MonthDayNano):  # an INTERVAL of SQL
        return f"P{value.months}M{value.days}DT{value.nanoseconds / _NANOS:g}S"
    return str(value)
