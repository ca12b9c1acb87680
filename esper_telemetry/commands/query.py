"""`esper-telemetry query`: ask in SQL, over one record or many."""

from __future__ import annotations

import csv
import json
import sys
from typing import TYPE_CHECKING, Any

import click

from esper_telemetry.commands.output import FINE, INCOMPLETE, note, plural, print_table, warn
from esper_telemetry.commands.reading import find_files, latest_option, record_path
from esper_telemetry.schema import json_ready

if TYPE_CHECKING:
    import pyarrow as pa

_EPILOG = """There is a view for each type that the records declare, also without events: "seed.culled", or seed.culled
without quotes. `runs` has a row for each run. A query only reads: it can reach no file. The dialect is DuckDB's."""


@click.command(epilog=_EPILOG)
@click.argument("arguments", metavar="SQL FILE...", nargs=-1, required=True, type=record_path)
@click.option("--format", "form", type=click.Choice(["table", "json", "csv", "parquet"]), default="table")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json: an object a line.")
@click.option("-o", "--output", type=click.Path(), help="Write the answer to this file; needed for parquet.")
@click.option("--database", type=click.Path(), help="Keep all tables in this DuckDB file, for other programs.")
@click.option("--explain-views", is_flag=True, help="List the views and their columns; give FILE... alone.")
@latest_option
def command(
    arguments: tuple[str, ...],
    form: str,
    output: str | None,
    database: str | None,
    *,
    as_json: bool,
    explain_views: bool,
    latest: bool,
) -> int:
    """Ask in SQL, over one record or many.

    esper-telemetry query 'SELECT slot_id, count(*) FROM seed.culled GROUP BY 1' runs/*
    """
    from esper_telemetry.tables import Views

    sql, files = ("", arguments) if explain_views else (arguments[0], arguments[1:])
    if not files:
        raise click.UsageError(
            "no FILE was given; pass the SQL in quotes, then a record file, a run folder or a pattern"
        )
    form = "json" if as_json else form
    if form == "parquet" and output is None:
        raise click.UsageError("Parquet is binary; name a file with -o FILE")
    views = Views(find_files(files), database=database, latest=latest, strict=False)
    try:
        answer = _view_table(views) if explain_views else views.answer(sql)
        _write(answer, form, output)
    finally:
        views.close()
    for text in views.reading.warnings:
        warn(text)
    for text in views.reading.notes:
        note(text)
    return INCOMPLETE if views.reading.warnings else FINE


def _view_table(views: Any) -> pa.Table:
    import pyarrow as pa

    names = ("view", "column", "unit", "description", "type")
    return pa.Table.from_pylist(
        [{name: getattr(column, name) for name in names} for column in views.columns()],
        schema=pa.schema([(name, pa.string()) for name in names]),
    )


def _write(answer: pa.Table, form: str, output: str | None) -> None:
    if output is None:
        _print(answer, form)
        return
    if form == "parquet":
        from pyarrow import parquet

        parquet.write_table(answer, output, compression="zstd")
        return
    with open(output, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123 - as Path.open
        _write_text(answer, form, file)


def _print(answer: pa.Table, form: str) -> None:
    from esper_telemetry.tables.plainrows import plain_rows

    if form != "table":
        _write_text(answer, form, sys.stdout)
        return
    print_table(answer.column_names, [[_text(value) for value in row] for row in plain_rows(answer)])
    note(plural(len(answer), "row"))


def _write_text(answer: pa.Table, form: str, file: Any) -> None:
    from esper_telemetry.tables.plainrows import plain_rows

    if form == "json":
        for row in plain_rows(answer):
            line = json_ready(dict(zip(answer.column_names, row, strict=True)))
            file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n")
        return
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(answer.column_names)
    for row in plain_rows(answer):
        writer.writerow([_text(value) for value in row])


def _text(value: Any) -> Any:
    """Return a value for a cell of a table or of CSV: what is nested as JSON."""
    if isinstance(value, (dict, list, bytes)):
        return json.dumps(json_ready(value), ensure_ascii=False, separators=(",", ":"))
    return value
