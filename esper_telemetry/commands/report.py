"""`esper-telemetry report`: the panels of one or more runs as one HTML file that opens anywhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esper_telemetry.commands.output import FINE, INCOMPLETE, note, plural, printable, size, warn
from esper_telemetry.commands.progress import counted
from esper_telemetry.commands.reading import STDIN, files_argument, find_files, latest_option
from esper_telemetry.errors import ConfigError
from esper_telemetry.report import GENERATOR, Watch, gather, report_page
from esper_telemetry.views import PANELS, alerts_panel, load_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from esper_telemetry.decode import Event, Records
    from esper_telemetry.views import Panel

_EPILOG = """The file loads nothing from anywhere, prints, and is readable without its script. Pass several runs to
compare them; a run with the tag control=true, or one whose policy only waits, is the control of the others."""
_HEAD = 4096


class _Bar(Watch):
    """Shows how far reading is, on a terminal."""

    def events(self, records: Records) -> Iterable[Event]:
        return _shown(records)


def _shown(records: Records) -> Iterator[Event]:
    yield from counted(records, "reading", records.events)


@click.command(epilog=_EPILOG)
@files_argument
@click.option(
    "-o", "--output", default="report.html", show_default=True, type=click.Path(allow_dash=True), help="- for stdout."
)
@click.option("--rules", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Rules of the verdict.")
@click.option("--force", is_flag=True, help="Write over a file that is no report.")
@latest_option
def command(files: tuple[str, ...], *, output: str, rules: Path | None, force: bool, latest: bool) -> int:
    """Write a report of one or more runs: what they did, whether the record is complete, and what needs a look."""
    target = None if output == STDIN else Path(output)
    if target is not None:
        _check_target(target, force=force)
    runs = gather(find_files(files), panels=_panels(rules), latest=latest, watch=_Bar())
    made = report_page(runs)
    if target is None:
        sys.stdout.write(made.html)
    else:
        _write(target, made.html)
        where = target.resolve()
        note(f"wrote {printable(str(where))} ({size(len(made.html.encode()))}, {plural(len(runs), 'run')})")
    for text in made.verdict:
        note(printable(text))
    for run in runs:
        for warning in run.warnings:
            warn(printable(warning))
    return INCOMPLETE if any(run.warnings for run in runs) else FINE


def _panels(rules: Path | None) -> Sequence[Panel]:
    if rules is None:
        return PANELS
    verdict = alerts_panel(load_rules(rules))
    return tuple(verdict if panel.id == verdict.id else panel for panel in PANELS)


def _check_target(target: Path, *, force: bool) -> None:
    """Refuse to write over what is no report of ours, before anything is read.

    Raises:
        ConfigError: the output is a folder, or a file that this command did not write.
    """
    if target.is_dir():
        raise ConfigError(f"{target} is a folder; name a file, as {target / 'report.html'}")
    if target.exists() and not force:
        with target.open("rb") as file:
            ours = GENERATOR.encode() in file.read(_HEAD)
        if not ours:
            raise ConfigError(f"{target} is no report and is not written over; choose another name, or pass --force")


def _write(target: Path, text: str) -> None:
    """Write the file whole or not at all: a browser never sees half a report."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
