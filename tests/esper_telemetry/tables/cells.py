"""What the cells of a table must be, computed one by one from what `read` gives."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import esper_telemetry as et
from esper_telemetry.schema import is_map, is_repeated

BASE = ("run", "stream", "rank", "attempt", "seq", "time")


def cell(value: Any, field: Any) -> Any:
    """Return a value of `.data` (None: absent) as a cell of the column of `field`."""
    if is_map(field):
        item = field.message_type.fields_by_name["value"]
        return sorted((key, _item(one, item)) for key, one in (value or {}).items())
    if is_repeated(field):
        return [_item(one, field) for one in value or []]
    return None if value is None else _item(value, field)


def _item(value: Any, field: Any) -> Any:
    if field.message_type is not None:
        return {one.name: cell(value.get(one.name), one) for one in field.message_type.fields}
    return str(value) if field.enum_type is not None else value


def comparable(value: Any) -> Any:
    """Return a cell so that equal ones have equal texts: NaN is NaN, and -0.0 is not 0.0."""
    if isinstance(value, list):
        items = [comparable(one) for one in value]
        return sorted(items) if items and isinstance(value[0], tuple) else items
    if isinstance(value, tuple):
        return tuple(comparable(one) for one in value)
    if isinstance(value, dict):
        return {name: comparable(one) for name, one in value.items()}
    return repr(value)


def expected_rows(runs: Any, **choice: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each table by full name, from `read`: stream after stream, as tables have them."""
    rows: dict[str, list[tuple[tuple, dict[str, Any]]]] = defaultdict(list)
    for event in et.read(runs, **choice):
        descriptor: Any = event.message.DESCRIPTOR
        context: Any = event.context.DESCRIPTOR
        row = {"run": event.run_id, "stream": event.stream, "rank": event.rank, "attempt": event.attempt}
        row |= {"seq": event.seq, "time": event.time_unix_nano}
        row = {f"{name}_" if name in descriptor.fields_by_name else name: value for name, value in row.items()}
        for field in context.fields:
            name = f"context_{field.name}" if field.name in (*BASE, *descriptor.fields_by_name) else field.name
            row[name] = getattr(event.context, field.name) if event.context.HasField(field.name) else None
        row |= {field.name: cell(event.data.get(field.name), field) for field in descriptor.fields}
        order = (event.run_id, event.stream, event.rank, event.attempt, event.position)
        rows[event.full_name].append((order, row))
    return {name: [row for _, row in sorted(found, key=lambda one: one[0])] for name, found in rows.items()}


def table_rows(table: Any) -> list[dict[str, Any]]:
    """Return the rows of a table with times as nanoseconds, in the order of `expected_rows`."""
    import pyarrow as pa

    columns = {
        name: (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    places = [f"{name}_" if f"{name}_" in columns else name for name in ("run", "stream", "rank", "attempt", "seq")]
    return sorted(rows, key=lambda row: tuple(row[name] for name in places))


def assert_same(table: Any, expected: list[dict[str, Any]]) -> None:
    """Hold every cell of a table against what is expected."""
    rows = table_rows(table)
    assert len(rows) == len(expected)
    for row, wanted in zip(rows, expected, strict=True):
        assert {n: comparable(v) for n, v in row.items()} == {n: comparable(v) for n, v in wanted.items()}
