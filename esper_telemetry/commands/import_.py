"""`esper-telemetry import`: old runs of other tools as records."""

from __future__ import annotations

import click

from esper_telemetry.commands.output import FINE, INCOMPLETE, plural, print_text, warn
from esper_telemetry.commands.reading import files_argument


@click.command(name="import")
@click.argument("form", type=click.Choice(["tensorboard", "jsonl", "csv"]))
@files_argument
@click.option("-o", "--output", metavar="DIR", default="runs", show_default=True, help="Folder of the runs.")
def command(form: str, files: tuple[str, ...], output: str) -> int:
    """Write old runs of other tools as records, with the names, steps and times that they had.

    Each folder with event files is a run, or each file of JSON lines or CSV.
    """
    from esper_telemetry.exports import import_runs

    report = import_runs(form, files, output)
    for folder in report.runs:
        print_text(str(folder))
    print_text(f"{plural(report.scalars, 'scalar')} in {plural(len(report.runs), 'run')}")
    for path, count in report.left_out.items():
        warn(f"{path}: {plural(count, 'line')} held no number and was left out")
    return INCOMPLETE if report.left_out else FINE
