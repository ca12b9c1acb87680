"""`esper-telemetry query`: ask in SQL, over one record or many."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from esper_telemetry.commands.output import FINE, INCOMPLETE, note, plural, print_table, warn
from esper_telemetry.commands.reading import find_files, latest_option, record_path

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
        answer = views.explained() if explain_views else views.answer(sql)
        _write(answer, form, output)
    finally:
        views.close()
    for text in views.reading.warnings:
        warn(text)
    for text in views.reading.notes:
        note(text)
    return INCOMPLETE if views.reading.warnings else FINE


def _write(answer: Any, form: str, output: str | None) -> None:
    from esper_telemetry.tables.answers import cell_text, write_answer
    from esper_telemetry.tables.plainrows import plain_rows

    if output is not None:
        write_answer(answer, "csv" if form == "table" else form, Path(output))
    elif form != "table":
        write_answer(answer, form, sys.stdout)
    else:
        print_table(answer.column_names, [[cell_text(value) for value in row] for row in plain_rows(answer)])
        note(plural(len(answer), "row"))
