"""`esper-telemetry filter`: write the events that are wanted into a new record."""

from __future__ import annotations

import dataclasses
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esper_telemetry.commands.output import FAILED, FINE, INCOMPLETE, note, plural, print_json, print_text, warn
from esper_telemetry.commands.progress import measured
from esper_telemetry.commands.reading import (
    Choice,
    EachFile,
    files_argument,
    filter_options,
    find_files,
    json_option,
)
from esper_telemetry.commands.recover import new_folder
from esper_telemetry.decode import Origin, survey
from esper_telemetry.recordfile import filter_record

if TYPE_CHECKING:
    from esper_telemetry.decode import Filter
    from esper_telemetry.recordfile import Filtered, Segment, Selection


@click.command
@files_argument
@filter_options
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="A new file, or a new folder.")
@json_option
def command(files: tuple[str, ...], choice: Choice, output: Path, *, as_json: bool) -> int:
    """Write the events that are wanted to a new record. Numbers stay as they were.

    For several files or a run folder the output is a new folder with a file for each.
    A block of steps is kept or left out whole: kept for the type of its rows, left out with --env.
    """
    paths = find_files(files)
    if choice.plain.batches is not None or choice.plain.steps is not None:
        raise click.UsageError(
            "a record is filtered by type, environment, rank, time and number, not by batch or step; cat with --batch"
            " or --step shows the numbers for --seq"
        )
    wanted = choice.of(survey(paths)) if choice.needs_record else choice.between(0, 0)
    folder = new_folder(output) if len(paths) > 1 or Path(files[0]).is_dir() else None
    chooser, each = _Chooser(wanted, blocks=choice.blocks), EachFile(paths)
    found: dict[Path, Filtered] = {}
    with measured(paths.files, "filtering") as work:
        for path, show in work:
            target = output if folder is None else folder / path.name
            one = each.attempt(partial(filter_record, path, target, chooser.choose, progress=show))
            if one is not None:
                found[path] = one
    if as_json:
        print_json([_document(str(path), one) for path, one in found.items()])
    else:
        for one in found.values():
            copied = f", {plural(one.copied, 'frame')} byte for byte" if one.copied else ""
            if one.segments:
                print_text(f"{one.output}  {plural(one.events, 'event')} of {one.events + one.dropped:,}{copied}")
            else:
                note(f"{one.output} was not written: its ranks are not wanted")
    for path, one in found.items():
        for fault in (*one.damage, *filter(None, [one.truncation])):
            warn(f"{path}: {fault}")
    if chooser.lost_blocks:
        note("blocks of steps hold several environments each; --env left them out")
    code = each.tell(FINE if all(one.complete for one in found.values()) else INCOMPLETE)
    return code if found else FAILED


# What `cat` takes and a filter of whole events and blocks refuses is not among its options.
for _option in command.params:
    if isinstance(_option, click.Option) and _option.name in ("batches", "steps"):
        _option.hidden = True


class _Chooser:
    """Says for each segment which events are wanted."""

    def __init__(self, wanted: Filter, *, blocks: bool) -> None:
        self._wanted = wanted
        self._blocks = blocks
        self.lost_blocks = False

    def choose(self, segment: Segment) -> Selection | None:
        wanted = self._wanted
        if not wanted.wants_rank(segment.header.rank):
            return None
        origin = Origin(segment, "", Counter())
        selection = wanted.selection(origin, expand=not self._blocks)
        self.lost_blocks |= wanted.envs is not None and bool(origin.block_ids & (selection.type_ids or origin.type_ids))
        return dataclasses.replace(selection, env_ids=wanted.envs)


def _document(path: str, one: Filtered) -> dict[str, object]:
    damage = [{"offset": found.offset, "end": found.end, "reason": found.reason} for found in one.damage]
    names = ("complete", "segments", "events", "dropped", "frames", "copied")
    cut = {"truncation": None if one.truncation is None else str(one.truncation), "damage": damage}
    return {"path": path, "output": str(one.output), **{name: getattr(one, name) for name in names}, **cut}
