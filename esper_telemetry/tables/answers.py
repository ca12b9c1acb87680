"""A table as text or as a Parquet file, for what people and other programs read: the answer of a query."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyarrow import parquet

from esper_telemetry.schema import json_ready
from esper_telemetry.tables.plainrows import plain_rows

if TYPE_CHECKING:
    from typing import TextIO

    import pyarrow as pa


def write_answer(answer: pa.Table, form: str, target: TextIO | Path) -> None:
    """Write a table.

    Args:
        answer: the table.
        form: "json" (an object a line), "csv" or "parquet".
        target: an open text file, or the path of a file to be made; Parquet needs a path.

    Raises:
        OSError: the file cannot be written.
    """
    if not isinstance(target, Path):
        (_json_lines if form == "json" else _csv)(answer, target)
    elif form == "parquet":
        parquet.write_table(answer, target, compression="zstd")
    else:
        with target.open("w", encoding="utf-8", newline="") as file:
            write_answer(answer, form, file)


def cell_text(value: Any) -> Any:
    """Return a plain value for one cell of text: what is nested as JSON."""
    if isinstance(value, (dict, list, bytes)):
        return json.dumps(json_ready(value), ensure_ascii=False, separators=(",", ":"))
    return value


def _json_lines(answer: pa.Table, file: TextIO) -> None:
    for row in plain_rows(answer):
        line = json_ready(dict(zip(answer.column_names, row, strict=True)))
        file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n")


def _csv(answer: pa.Table, file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(answer.column_names)
    for row in plain_rows(answer):
        writer.writerow([cell_text(value) for value in row])
