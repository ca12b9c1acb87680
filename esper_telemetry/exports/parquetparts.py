"""How a table is written as Parquet: encodings, statistics, and the form of its columns that every engine reads.

Reals are BYTE_STREAM_SPLIT (dictionaries where few values repeat), integers and times DELTA_BINARY_PACKED, texts
dictionaries, all of it zstd: 0.63 of the bytes of a record of a million events of random reals.

Columns of reals carry no statistics. NaN is left out of the least and greatest value that pyarrow and polars write,
and DuckDB 2.0 trusts these: it answers `isnan(x)` with no row and `max(x)` with a number.

`time` is in microseconds, which Spark reads, and `time_ns` holds the nanoseconds beyond them: nothing is lost.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from esper_telemetry.exports.exportforms import LEVEL

if TYPE_CHECKING:
    from typing import BinaryIO

    from esper_telemetry.tables import TableLayout

ROW_GROUP_ROWS = 1 << 20
_MICROSECONDS = pa.timestamp("us", "UTC")
_NANOS = 1000
# Reals with less than one different value in four are given a dictionary, as the first rows tell.
_LOOKED_AT, _REPEATS = 16_384, 4


def stored_schema(layout: TableLayout) -> pa.Schema:
    """Return the columns of a table as they are stored.

    The units are in the metadata of the file, as JSON by column; descriptions are in the records. As metadata of the
    columns they would take twice the room of the data of a short run.
    """
    fields, units = [], {}
    for field in layout.schema:
        about = {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}
        units[field.name] = about.get("unit", "")
        if pa.types.is_timestamp(field.type):
            fields.append(pa.field(field.name, _MICROSECONDS))
            if field.name == layout.base["time"]:
                fields.append(pa.field(f"{field.name}_ns", pa.int16()))
                units[fields[-1].name] = "ns"
        else:
            fields.append(pa.field(field.name, field.type))
    units = {name: unit for name, unit in units.items() if unit}
    return pa.schema(fields, {**(layout.schema.metadata or {}), "units": json.dumps(units, separators=(",", ":"))})


def stored(batch: pa.RecordBatch, layout: TableLayout, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch as it is stored."""
    columns = []
    for column, field in zip(batch.columns, batch.schema, strict=True):
        if not pa.types.is_timestamp(field.type):
            columns.append(column)
            continue
        nanos = column.cast(pa.int64())
        micros = _floor_divide(nanos)
        columns.append(micros.cast(_MICROSECONDS))
        if field.name == layout.base["time"]:
            columns.append(pc.subtract(nanos, pc.multiply(micros, _NANOS)).cast(pa.int16()))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _floor_divide(nanos: pa.Array) -> pa.Array:
    """Return whole microseconds, rounded down before 1970 too."""
    cut = pc.divide(nanos, _NANOS)  # towards zero
    return pc.subtract(cut, pc.greater(pc.multiply(cut, _NANOS), nanos).cast(pa.int64()))


class PartWriter:
    """Writes one Parquet file, row group by row group. Not for use by two threads at once.

    Args:
        file: open for writing; it is not closed.
        schema: the columns.
        level: of zstd.
    """

    def __init__(self, file: BinaryIO, schema: pa.Schema, level: int = LEVEL) -> None:
        self._file = file
        self._schema = schema
        self._level = level
        self._writer: Any = None
        self.rows = 0

    def write(self, batches: list[pa.RecordBatch]) -> None:
        """Write batches as one row group (several beyond a million rows)."""
        table = pa.Table.from_batches(batches, schema=self._schema)
        if len(table):
            self._opened(table).write_table(table, row_group_size=ROW_GROUP_ROWS)
            self.rows += len(table)

    def close(self) -> None:
        """Write the footer."""
        writer = self._opened(self._schema.empty_table())
        writer.add_key_value_metadata(self._schema.metadata or {})
        writer.close()

    def _opened(self, first: pa.Table) -> Any:
        """Return the writer; its encodings are chosen by the first rows."""
        if self._writer is None:
            encodings, texts, told = _settings(self._schema, _repeating(first))
            self._writer = parquet.ParquetWriter(
                self._file,
                self._schema,
                compression="zstd",
                compression_level=self._level,
                use_dictionary=texts or False,
                column_encoding=encodings,
                write_statistics=told,
                store_schema=False,  # Arrow's own copy of the schema is a third of a small file
            )
        return self._writer


def _repeating(table: pa.Table) -> set[str]:
    """Return the columns of reals that have few different values, such as a blend weight: a dictionary is smaller."""
    rows = table.slice(0, _LOOKED_AT)
    return {
        field.name
        for field in table.schema
        if pa.types.is_floating(field.type)
        and 0 < pc.count_distinct(rows[field.name], mode="only_valid").as_py() * _REPEATS <= len(rows)
    }


def _settings(schema: pa.Schema, repeating: set[str]) -> tuple[dict[str, str], list[str], list[str]]:
    """Return encodings, columns with dictionaries, and columns with statistics, by the paths of Parquet's leaves."""
    encodings: dict[str, str] = {}
    texts: list[str] = []
    told: list[str] = []
    for path, kind in _leaves(schema):
        if path in repeating:
            texts.append(path)
            continue
        if pa.types.is_floating(kind):
            encodings[path] = "BYTE_STREAM_SPLIT"
            continue
        told.append(path)
        if pa.types.is_integer(kind) or pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
            encodings[path] = "DELTA_BINARY_PACKED"
        elif not pa.types.is_boolean(kind):
            texts.append(path)
    return encodings, texts, told


def _leaves(fields: Any, above: str = "") -> list[tuple[str, pa.DataType]]:
    found = []
    for field in fields:
        found += _leaves_of(field.type, f"{above}{field.name}")
    return found


def _leaves_of(kind: pa.DataType, path: str) -> list[tuple[str, pa.DataType]]:
    if pa.types.is_struct(kind):
        return _leaves(kind, f"{path}.")
    if pa.types.is_map(kind):
        return [
            *_leaves_of(kind.key_type, f"{path}.key_value.key"),
            *_leaves_of(kind.item_type, f"{path}.key_value.value"),
        ]
    if pa.types.is_list(kind):
        return _leaves_of(kind.value_type, f"{path}.list.element")
    if pa.types.is_dictionary(kind):
        return [(path, kind.value_type)]
    return [(path, kind)]
