"""`esper-telemetry merge`: join segments, ranks or files into one record."""

from __future__ import annotations

from pathlib import Path

import click

from esper_telemetry.commands.output import FINE, INCOMPLETE, note, print_json, print_text, warn
from esper_telemetry.commands.progress import progress
from esper_telemetry.commands.reading import files_argument, find_files, json_option
from esper_telemetry.commands.recover import placed_document, placed_text, tell_damage
from esper_telemetry.recordfile import merge


@click.command
@files_argument
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The new file.")
@click.option("--force", is_flag=True, help="Join files of different runs too.")
@json_option
def command(files: tuple[str, ...], output: Path, *, force: bool, as_json: bool) -> int:
    """Join records into one compact file: it reads like the folder it was made of.

    Damaged inputs are recovered on the way. Exit code 0: nothing is lost; 3: something is, or a
    record was never closed, so that its end is unknown.
    """
    paths = find_files(files)
    with progress("merging", 1) as show:
        found = merge(paths.files, output, force=force, progress=lambda done, total: show(done / max(1, total)))
    if as_json:
        print_json({"paths": found.paths, "runs": found.runs, **placed_document(found)})
    else:
        print_text(f"{found.output}  {placed_text(found)}, {len(found.paths):,} files")
    tell_damage(found)
    for text in (*paths.passed_over, *found.passed_over):
        warn(str(text))
    if len(found.attempts) > 1:
        note(f"{found.output} holds {len(found.attempts)} attempts: what was done again is there twice")
    whole = found.complete and not (paths.passed_over or found.passed_over)
    return FINE if whole else INCOMPLETE
