"""Records as one file for each type: Arrow IPC, CSV or JSON lines.

CSV and JSON lines are written in bounded memory; Arrow holds its tables until the end, for one dictionary a column.

Arrow and JSON lines hold every column; CSV holds what is nested as JSON in a cell, and cannot tell an empty text from
one that is unset, which is reported.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa

from esper_telemetry.decode import survey
from esper_telemetry.exports.exportforms import ENDINGS
from esper_telemetry.exports.exportreport import UNDECLARED, ExportReport
from esper_telemetry.exports.target import Target, hidden_name
from esper_telemetry.schema import json_ready
from esper_telemetry.tables.answers import cell_text
from esper_telemetry.tables.opening import Reading
from esper_telemetry.tables.plainrows import plain_rows

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from esper_telemetry.tables.opening import Runs


def export_tables(runs: Runs, target: str | os.PathLike[str], form: str) -> ExportReport:
    """Write each type of some runs as a file of its own; files of an export before are replaced.

    Args:
        runs: a record file, a run folder, a pattern such as "runs/*", or several of these.
        target: the folder, or a URL that fsspec knows.
        form: "arrow", "csv" or "ndjson".

    Raises:
        RecordError: nothing of the runs can be read.
        SchemaError: a field has two types in two records.
        OSError: the target cannot be written.
    """
    place = Target(target)
    reading = Reading(survey(runs), strict=False)
    report = ExportReport()
    files: dict[str, tuple[str, BinaryIO, Any]] = {}
    for layout in reading.chosen.values():
        name = f"{layout.name.replace('/', '%2F')}.{ENDINGS[form]}"
        file = place.create(hidden_name(name))
        files[layout.name] = name, file, _WRITERS[form](file, layout.schema)
        if form == "csv":
            report.lost |= {
                f"{layout.name}.{field.name}": "CSV does not tell an empty text from one that is unset"
                for field in layout.schema
                if pa.types.is_string(field.type) or pa.types.is_dictionary(field.type)
            }
    for layout, batch in reading:
        if layout.name not in files:
            report.lost[layout.name] = UNDECLARED
            continue
        files[layout.name][2].write(batch)
        report.rows += len(batch)
    for name, file, writer in files.values():
        writer.close()
        file.close()
        place.sync([hidden_name(name)])
        place.move(hidden_name(name), name)
        report.bytes += place.size(name)
    report.files = len(files)
    report.warnings += reading.warnings
    report.notes += reading.notes
    return report


class _Arrow:
    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        options = pa.ipc.IpcWriteOptions(compression="zstd", emit_dictionary_deltas=False, unify_dictionaries=True)
        self._schema = schema
        self._writer = pa.ipc.new_file(file, schema, options=options)
        self._batches: list[pa.RecordBatch] = []

    def write(self, batch: pa.RecordBatch) -> None:
        self._batches.append(batch)

    def close(self) -> None:
        # One dictionary for the file: the format has no replacement, and Spark and others read no delta.
        self._writer.write_table(pa.Table.from_batches(self._batches, self._schema).unify_dictionaries())
        self._writer.close()


class _Csv:
    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        self._writer = csv.writer(self._text, lineterminator="\n")
        self._writer.writerow(schema.names)

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.writerows([[cell_text(value) for value in row] for row in plain_rows(batch)])

    def close(self) -> None:
        self._text.flush()
        self._text.detach()


class _JsonLines:
    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._file = file
        self._names = schema.names

    def write(self, batch: pa.RecordBatch) -> None:
        for row in plain_rows(batch):
            line = json_ready(dict(zip(self._names, row, strict=True)))
            self._file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Leave the file to its owner."""


_WRITERS: dict[str, Callable[[BinaryIO, pa.Schema], Any]] = {"arrow": _Arrow, "csv": _Csv, "ndjson": _JsonLines}
