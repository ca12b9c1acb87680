"""`esper-telemetry recover`: save what is whole of a damaged or cut record into a new one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from esper_telemetry.commands.output import FAILED, FINE, INCOMPLETE, plural, print_json, print_text, warn
from esper_telemetry.commands.progress import measured
from esper_telemetry.commands.reading import EachFile, files_argument, find_files, json_option
from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile import recover

if TYPE_CHECKING:
    from esper_telemetry.recordfile import Merge, Recovery


@click.command
@files_argument
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="A new file, or a new folder.")
@click.option(
    "--schema-from",
    metavar="FILE",
    type=click.Path(exists=True, path_type=Path),
    help="Where a header is lost, assume the schema of this record.",
)
@click.option(
    "--compact/--no-compact",
    default=True,
    show_default=True,
    help="Rewrite the new file into full frames where a third is saved; else whole frames stay byte for byte.",
)
@json_option
def command(files: tuple[str, ...], output: Path, *, schema_from: Path | None, compact: bool, as_json: bool) -> int:
    """Write what is whole to a new, compact record; the damaged one is never touched.

    For several files or a run folder the output is a new folder with a file for each. What is whole of a cut last
    frame is kept and marked as unverified, and the output is verified. A header that is lost is assumed to be that of
    a segment of the same stream, or of this SDK if the file proves it. Exit code 0: nothing is lost; 3: something is,
    or the record was never closed, so that its end is unknown; 1: nothing can be recovered.
    """
    paths = find_files(files)
    folder = new_folder(output) if len(paths) > 1 or Path(files[0]).is_dir() else None
    each = EachFile(paths)
    found: list[Recovery] = []
    with measured(paths.files, "recovering") as work:
        for path, show in work:
            target = output if folder is None else folder / path.name
            work_on = partial(recover, path, target, schema_from=schema_from, compact=compact, progress=show)
            one = each.attempt(work_on)
            if one is not None:
                found.append(one)
    if as_json:
        print_json([{"path": one.path, **placed_document(one)} for one in found])
    else:
        for one in found:
            print_text(f"{one.output}  {placed_text(one)}")
    for one in found:
        tell_damage(one)
    code = each.tell(FINE if all(one.complete for one in found) else INCOMPLETE)
    return code if found else FAILED


def new_folder(path: Path) -> Path:
    """Make the folder that several files go to.

    Raises:
        SinkError: it cannot be made.
    """
    try:
        path.mkdir()
    except OSError as error:
        raise SinkError(f"{path}: cannot make the folder: {error.strerror}; choose another --output") from error
    return path


def placed_text(placed: Recovery | Merge) -> str:
    """Return in a few words what a new file holds."""
    text = f"{plural(placed.events, 'event')} in {plural(placed.frames, 'frame')}"
    extras = (
        (placed.unverified, f"{plural(placed.unverified, 'event')} unverified, from a cut frame"),
        (placed.rebuilt, f"{plural(placed.rebuilt, 'descriptor')} made again"),
        (placed.repeats, f"{plural(placed.repeats, 'frame')} left out that came twice"),
    )
    return ", ".join([text, *(words for count, words in extras if count)])


def tell_damage(placed: Recovery | Merge) -> None:
    """Say on stderr what could not be kept."""
    for path, damages in placed.damage.items():
        for damage in damages:
            warn(f"{path}: {damage}")
    for path, origins in placed.assumed.items():
        warn(f"{path}: its header is lost; assumed is that of {', '.join(origins)}")
    for _, first, last in placed.lost:
        warn(f"{placed.output}: numbers {first:,} to {last:,} are lost")
    if placed.open_end:
        warn(f"{placed.output}: events at the end are lost, and it is unknown how many")
    elif placed.unclosed:
        what = plural(placed.unclosed, "segment")
        warn(f"{placed.output}: {what} had no footer: what a killed writer still held is not in it")


def placed_document(placed: Recovery | Merge) -> dict[str, Any]:
    """Return what a new file holds, for JSON."""
    counts = ("segments", "frames", "events", "rebuilt", "unverified", "repeats", "lost_bytes", "unclosed")
    names = ("complete", *counts, "open_end")
    return {
        "output": str(placed.output),
        **{name: getattr(placed, name) for name in names},
        "lost": [{"segment": number, "first_seq": first, "last_seq": last} for number, first, last in placed.lost],
        "assumed": placed.assumed,
        "damage": [
            {"path": path, "offset": damage.offset, "end": damage.end, "reason": damage.reason}
            for path, damages in placed.damage.items()
            for damage in damages
        ],
    }
