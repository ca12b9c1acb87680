"""`esper-telemetry export`: write records in the form of another ecosystem."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from esper_telemetry.commands.output import FINE, INCOMPLETE, note, plural, print_json, print_text, size, warn
from esper_telemetry.commands.reading import files_argument, find_files, json_option

if TYPE_CHECKING:
    from esper_telemetry.exports import ExportReport

_FORMS = ("parquet", "arrow", "csv", "ndjson", "tensorboard", "mcap", "perfetto", "otlp")
_MOST_FIELDS = 12
_EPILOG = """A data set of Parquet files grows: a second export adds what is new, and one that was killed left nothing
half-written. What a form cannot hold is named, and the exit code is 3."""


@click.command(epilog=_EPILOG)
@files_argument
@click.option("--to", "form", type=click.Choice(_FORMS), default="parquet", show_default=True, help="The form.")
@click.option("-o", "--output", metavar="DIR", required=True, help="The folder, or a URL such as s3://bucket/data.")
@click.option(
    "--by",
    type=click.Choice(["type", "type,run", "type,date"]),
    default="type",
    show_default=True,
    help="What a Parquet file holds.",
)
@click.option("--level", type=click.IntRange(1, 22), default=3, show_default=True, help="Of zstd, for Parquet.")
@json_option
def command(files: tuple[str, ...], form: str, output: str, by: str, level: int, *, as_json: bool) -> int:
    """Write records in the form of another ecosystem."""
    from esper_telemetry.exports import export

    report = export(find_files(files), output, form, by=by, level=level)
    if as_json:
        print_json(asdict(report))
    else:
        _print(report, output)
    for text in report.warnings:
        warn(text)
    for text in report.notes:
        note(text)
    return INCOMPLETE if report.warnings or report.lost else FINE


def _print(report: ExportReport, output: str) -> None:
    if not report.files:
        print_text(f"nothing new; {output} is as it was")
        return
    print_text(f"{plural(report.rows, 'row')} in {plural(report.files, 'file')}, {size(report.bytes)}: {output}")
    for name, reason in list(report.lost.items())[:_MOST_FIELDS]:
        warn(f"not in it: {name}: {reason}")
    if len(report.lost) > _MOST_FIELDS:
        warn(f"not in it: {len(report.lost) - _MOST_FIELDS:,} more fields; --json names all")
