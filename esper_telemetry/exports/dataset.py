"""Records to a data set of Parquet files for any engine: incremental, restartable, in bounded memory.

`<type>/part-*.parquet` holds the events of one type, with the run as a column. What is nested further (a folder for
each run or day) has plain names without `key=value`, so that no engine makes a column of a folder's name and types it
by its own guess. Records are read, never changed.
"""

from __future__ import annotations

import fcntl
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from esper_telemetry.decode import Filter, Survey, survey
from esper_telemetry.decode.faults import Faults
from esper_telemetry.errors import ConfigError
from esper_telemetry.exports.exportforms import LEVEL, PARTITIONS
from esper_telemetry.exports.exportreport import ExportReport
from esper_telemetry.exports.manifest import Manifest
from esper_telemetry.exports.parquetparts import ROW_GROUP_ROWS, PartWriter, stored, stored_schema
from esper_telemetry.exports.target import Target, hidden_name
from esper_telemetry.tables.opening import declared
from esper_telemetry.tables.runtable import SCHEMA as RUNS_SCHEMA
from esper_telemetry.tables.runtable import run_table
from esper_telemetry.tables.scanning import Scanner

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from esper_telemetry.tables import TableLayout
    from esper_telemetry.tables.opening import Runs

RUNS = "runs"
# Decoded events that wait for their row group, of one table and of all: the rest of the memory is a batch and pages.
_TABLE_BYTES, _ALL_BYTES = 8 << 20, 24 << 20
_MOST_OPEN = 128


def export_dataset(runs: Runs, target: str | os.PathLike[str], *, by: str = "type", level: int = LEVEL) -> ExportReport:
    """Add what is new of runs to a data set of Parquet files.

    A second export writes what was recorded since: new runs, and what a run that goes on has added. An export that
    was killed left nothing half-written: the next one finishes or repeats it. Two exports to one folder wait for each
    other.

    Args:
        runs: a record file, a run folder, a pattern such as "runs/*", or several of these.
        target: the folder of the data set, or a URL that fsspec knows.
        by: "type": files for each type; "type,run": for each type and run; "type,date": for each type and day (UTC).
        level: of zstd, 1 to 22.

    Raises:
        RecordError: nothing of the runs can be read.
        SchemaError: a field has two types in two records.
        ConfigError: `by` is unknown, or the data set is partitioned otherwise.
        OSError: the target cannot be written.
    """
    if by not in PARTITIONS:
        raise ConfigError(f"by is {by!r}; use one of {', '.join(map(repr, PARTITIONS))}")
    place = Target(target)
    with _locked(place):
        manifest = Manifest.load(place, by)
        manifest.settle(place)
        return _Export(survey(runs), place, manifest, level).run()


@contextmanager
def _locked(target: Target) -> Iterator[None]:
    if not target.local:  # an object store has no locks: one export at a time is the caller's to see to
        yield
        return
    Path(target.root).mkdir(parents=True, exist_ok=True)
    with Path(target.path("_esper_telemetry.lock")).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _Export:
    """One export."""

    def __init__(self, found: Survey, target: Target, manifest: Manifest, level: int) -> None:
        self._found = found
        self._target = target
        self._manifest = manifest
        self._level = level
        self._layouts = declared(found)
        self._folders = self._name_folders(self._layouts.all())
        self._spans = self._new_spans()
        self._written: dict[str, list[str]] = defaultdict(list)
        self.report = ExportReport(streams=len(self._spans), warnings=found.warnings)

    def run(self) -> ExportReport:
        """Write what is new, and commit it."""
        new_types = [layout for layout in self._layouts.all() if self._folder(layout) not in self._manifest.parts]
        if not self._spans and not new_types:
            return self.report
        self._manifest.generation += 1
        self._write_events()
        for layout in self._layouts.all():
            self._keep_schema(layout)
        self._write_runs()
        self._commit()
        return self.report

    def _name_folders(self, layouts: list[TableLayout]) -> dict[str, str]:
        """Return the folder of each type by full name; what a folder holds never changes."""
        folders = {full_name: folder for folder, full_name in self._manifest.folders.items()}
        taken = {RUNS, *self._manifest.folders}
        for layout in layouts:
            if layout.full_name not in folders:
                name = escaped(layout.name)
                folders[layout.full_name] = name if name not in taken else escaped(layout.full_name)
                taken.add(folders[layout.full_name])
        return folders

    def _folder(self, layout: TableLayout) -> str:
        return self._folders.setdefault(layout.full_name, escaped(layout.full_name))

    def _new_spans(self) -> dict[tuple[str, int, bytes], tuple[int, int]]:
        """Return what of each stream is new: the last number that was exported, and the last that is stored now."""
        spans: dict[tuple[str, int, bytes], tuple[int, int]] = {}
        for place in self._found.places:
            after = self._manifest.streams.get(_stream_name(place), 0)
            _, until = spans.get(place.stream_key, (0, 0))
            spans[place.stream_key] = after, max(until, place.last_seq)
        return {key: span for key, span in spans.items() if span[0] < span[1]}

    def _write_events(self) -> None:
        faults = Faults(strict=False)
        for found in self._groups():
            parts = _Parts(self)
            for layout, batch in Scanner(found, self._layouts, Filter(), faults, spans=self._spans):
                whole = stored(batch, layout, stored_schema(layout))
                self.report.rows += len(whole)
                for folder, rows in self._partitions(layout, whole):
                    parts.add(self._folder(layout), folder, whole.schema, rows)
            parts.close()
        self.report.warnings += faults.warnings
        self.report.notes += faults.notes
        for place in self._found.places:
            if place.stream_key in self._spans:
                self._manifest.streams[_stream_name(place)] = self._spans[place.stream_key][1]

    def _groups(self) -> list[Survey]:
        """Return the records that are written together: each run by itself where a run has files of its own."""
        if self._manifest.by != "type,run":
            return [self._found]
        by_run: dict[str, list[Any]] = defaultdict(list)
        for place in self._found.places:
            by_run[place.header.run_id].append(place)
        return [Survey(tuple({place.path for place in places}), tuple(places)) for places in by_run.values()]

    def _partitions(self, layout: TableLayout, batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
        folder = self._folder(layout)
        if self._manifest.by == "type":
            yield folder, batch
        elif self._manifest.by == "type,run":
            yield f"{folder}/{escaped(batch.column(layout.base['run'])[0].as_py())}", batch
        else:
            days = batch.column(layout.base["time"]).cast(pa.timestamp("us")).cast(pa.date32(), safe=False)
            for day in pc.unique(days):
                yield f"{folder}/{day}", batch.filter(pc.equal(days, day))

    def new_part(self, folder: str, partition: str) -> tuple[str, str]:
        """Return the hidden name and the name of a part to be written."""
        number = len(self._manifest.moves)
        name = f"{partition}/part-{self._manifest.generation:06}-{number:05}.parquet"
        self._manifest.moves.append((hidden_name(name), name))
        self._written[folder].append(name)
        return self._manifest.moves[-1]

    def write_part(self, folder: str, schema: pa.Schema, table: pa.Table) -> None:
        """Write a table as a part of its own."""
        hidden, _ = self.new_part(folder, folder)
        with self._target.create(hidden) as file:
            writer = PartWriter(file, schema, self._level)
            writer.write(table.to_batches())
            writer.close()

    @property
    def level(self) -> int:
        """Level of zstd."""
        return self._level

    @property
    def target(self) -> Target:
        """Where it goes."""
        return self._target

    def _keep_schema(self, layout: TableLayout) -> None:
        """Give every part of a type the same columns: a part without rows where there is none, old parts anew."""
        folder, schema = self._folder(layout), stored_schema(layout)
        text = schema.serialize().to_pybytes().hex()
        manifest = self._manifest
        known = manifest.parts.get(folder, [])
        if not known and not self._written[folder]:
            self.write_part(folder, schema, schema.empty_table())
        elif known and manifest.schemas.get(folder) != text:
            for name in known:
                with self._target.open(name) as file:
                    table = _with_columns(parquet.read_table(file), schema)
                hidden, _ = self.new_part(folder, name.rpartition("/")[0])
                with self._target.create(hidden) as file:
                    writer = PartWriter(file, schema, self._level)
                    writer.write(table.to_batches())
                    writer.close()
            manifest.removals += known
            manifest.parts[folder] = []
        manifest.schemas[folder] = text
        manifest.folders[folder] = layout.full_name

    def _write_runs(self) -> None:
        """Write a row for each run that the data set holds; those of this export are as they are now."""
        table = run_table(self._found)
        schema = pa.schema(
            [
                pa.field(one.name, pa.timestamp("us", "UTC") if pa.types.is_timestamp(one.type) else one.type)
                for one in RUNS_SCHEMA
            ]
        )
        table = table.cast(schema, safe=False)
        for name in self._manifest.parts.get(RUNS, []):
            with self._target.open(name) as file:
                before = parquet.read_table(file)
            others = before.filter(pc.invert(pc.is_in(before["run"], table["run"])))
            table = pa.concat_tables([others.cast(schema), table])
        self._manifest.removals += self._manifest.parts.pop(RUNS, [])
        self._manifest.folders[RUNS] = RUNS
        self.write_part(RUNS, schema, table)

    def _commit(self) -> None:
        manifest, target = self._manifest, self._target
        for folder, names in self._written.items():
            manifest.parts[folder] = [*manifest.parts.get(folder, []), *names]
        moved = list(manifest.moves)
        self.report.files = len(moved)
        self.report.bytes = sum(target.size(hidden) for hidden, _ in moved)
        target.sync(hidden for hidden, _ in moved)
        manifest.commit(target)


class _Parts:
    """Buffers batches by table and partition, and writes a row group when enough wait."""

    def __init__(self, export: _Export) -> None:
        self._export = export
        self._waiting: dict[str, list[pa.RecordBatch]] = defaultdict(list)
        self._bytes: dict[str, int] = defaultdict(int)
        self._rows: dict[str, int] = defaultdict(int)
        self._open: dict[str, tuple[Any, PartWriter]] = {}
        self._about: dict[str, tuple[str, pa.Schema]] = {}

    def add(self, folder: str, partition: str, schema: pa.Schema, batch: pa.RecordBatch) -> None:
        """Take a batch of a table."""
        self._about[partition] = folder, schema
        self._waiting[partition].append(batch)
        self._bytes[partition] += batch.nbytes
        self._rows[partition] += len(batch)
        if self._bytes[partition] > _TABLE_BYTES or self._rows[partition] >= ROW_GROUP_ROWS:
            self._flush(partition)
        while sum(self._bytes.values()) > _ALL_BYTES:
            self._flush(max(self._bytes, key=lambda one: self._bytes[one]))

    def close(self) -> None:
        """Write what waits, and the footers."""
        for partition in list(self._waiting):
            self._flush(partition)
        self._close_files()

    def _flush(self, partition: str) -> None:
        batches = self._waiting.pop(partition, [])
        self._bytes.pop(partition, None)
        self._rows.pop(partition, None)
        if not batches:
            return
        if partition not in self._open:
            if len(self._open) >= _MOST_OPEN:
                self._close_files()
            folder, schema = self._about[partition]
            hidden, _ = self._export.new_part(folder, partition)
            file = self._export.target.create(hidden)
            self._open[partition] = file, PartWriter(file, schema, self._export.level)
        self._open[partition][1].write(batches)

    def _close_files(self) -> None:
        for file, writer in self._open.values():
            writer.close()
            file.close()
        self._open.clear()


def escaped(name: str) -> str:
    """Return a name as that of a folder: "=" would make a column of it, and a first "." or "_" would hide it."""
    text = quote(name, safe=" +,@:")
    return f"%{ord(text[0]):02X}{text[1:]}" if text[:1] in "._" and text else text


def _stream_name(place: Any) -> str:
    header = place.header
    return f"{header.run_id}/{header.stream}/{header.rank}/{header.producer_id.hex()}"


def _with_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with the columns of a later schema; those that it does not have are NULL."""
    columns = [
        table[one.name].cast(one.type) if one.name in table.column_names else pa.nulls(len(table), one.type)
        for one in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
