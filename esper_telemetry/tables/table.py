"""The public functions that give Arrow: a table, all tables, and a scan in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from esper_telemetry.tables.opening import open_reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from esper_telemetry.tables.layouts import TableLayout
    from esper_telemetry.tables.opening import Reading, Runs, TypeName

# Chunks with fewer rows than this on average are joined: an engine pays for each chunk.
_FEW_ROWS = 4096


class Scan:
    """The events of one type as record batches, read while they are iterated over: memory is bounded.

    Attributes:
        schema: names, types, units and descriptions of the columns.
    """

    def __init__(self, reading: Reading, layout: TableLayout) -> None:
        self._reading = reading
        self.schema = layout.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return (batch for _, batch in self._reading)

    @property
    def warnings(self) -> Sequence[str]:
        """What was found damaged, missing or cut off so far: one sentence each, complete after an iteration."""
        return self._reading.warnings

    def to_reader(self) -> pa.RecordBatchReader:
        """Return the batches as an Arrow stream, which DuckDB, polars and others take as it is."""
        return pa.RecordBatchReader.from_batches(self.schema, iter(self))


def scan(runs: Runs, type: TypeName, **choice: Any) -> Scan:  # noqa: A002 - the word that `read` and the events use
    """Return the events of one type as record batches, in bounded memory whatever the length of the runs.

        for batch in esper_telemetry.scan("runs/*", "epoch.completed"):
            print(batch.num_rows)

    Args:
        runs: a record file, a run folder, a pattern such as "runs/*", or several of these.
        type: short or full name of the type, or its class.
        choice: `envs`, `ranks`, `since`, `until`, `first_seq`, `last_seq`, `batches`, `steps`, `expand`, `strict` and
            `latest`, as for `read`.

    Returns:
        Batches with the columns of `table`, stream after stream, each in the order of its numbers.

    Raises:
        RecordError: nothing of it can be read.
        SchemaError: no such type is declared (the message suggests one), its short name is that of several types, or
            a field has two types in two records.
        ValueError: a datetime has no time zone.
    """
    reading = open_reading(runs, type, **choice)
    return Scan(reading, _only(reading, type))


def table(runs: Runs, type: TypeName, **choice: Any) -> pa.Table:  # noqa: A002 - as above
    """Return the events of one type as a table.

        frame = esper_telemetry.table("runs/*", "ppo.update_completed").to_pandas()

    Columns are `run`, `stream`, `rank`, `attempt`, `seq` and `time`, the fields of Context, then the fields of the
    event. What was not measured is NULL, NaN is a measurement. A name that the event has for itself is its own: the
    column of the envelope is then `time_`, that of the context `context_step`. Units and descriptions are in the
    metadata of the fields. A block of steps is given as its rows. A type that is declared and has no event is a table
    without rows.

    Args:
        runs: as for `scan`.
        type: as for `scan`.
        choice: as for `scan`.

    Warns:
        RecordWarning: a record is damaged or cut off, or events were lost.

    Raises:
        RecordError: nothing of it can be read, or a part is damaged and `strict` is not False.
        SchemaError: as for `scan`.
        ValueError: a datetime has no time zone.
    """
    reading = open_reading(runs, type, **choice)
    layout = _only(reading, type)
    made = joined(layout, [batch for _, batch in reading])
    reading.warn(2)
    return made


def tables(runs: Runs, types: TypeName | Iterable[TypeName] | None = None, **choice: Any) -> dict[str, pa.Table]:
    """Return all declared types as tables, by name; the records are read once.

    Args:
        runs: as for `scan`.
        types: names, patterns such as "seed.*", or classes; None for all.
        choice: as for `scan`.

    Returns:
        Tables as `table` gives them: by short name, or by full name where two types have the same short one.

    Warns:
        RecordWarning: a record is damaged or cut off, or events were lost.

    Raises:
        RecordError: as for `table`.
        SchemaError: as for `scan`.
        ValueError: a datetime has no time zone.
    """
    reading = open_reading(runs, types, **choice)
    made = read_tables(reading)
    reading.warn(2)
    return made


def read_tables(reading: Reading) -> dict[str, pa.Table]:
    """Return the chosen tables of a reading, by name; its warnings are complete then."""
    batches: dict[str, list[pa.RecordBatch]] = {name: [] for name in reading.chosen}
    layouts = dict(reading.chosen)
    for layout, batch in reading:
        layouts.setdefault(layout.name, layout)  # a type that no header declares
        batches.setdefault(layout.name, []).append(batch)
    return {name: joined(layouts[name], found) for name, found in sorted(batches.items())}


def joined(layout: TableLayout, batches: Sequence[pa.RecordBatch]) -> pa.Table:
    """Return batches as one table; many small chunks become one."""
    whole = pa.Table.from_batches(batches, schema=layout.schema)
    return whole.combine_chunks() if len(batches) > 1 and len(whole) < _FEW_ROWS * len(batches) else whole


def _only(reading: Reading, type: TypeName) -> TableLayout:  # noqa: A002 - as above
    if len(reading.chosen) != 1:
        raise ValueError(f"{type!r} means {', '.join(reading.chosen)}; name one, or use tables() for several")
    return next(iter(reading.chosen.values()))
