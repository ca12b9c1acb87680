"""`esper-telemetry verify`: check every frame, event, count and descriptor of a record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from esper_telemetry.commands.output import FINE, PROBLEM, note, plural, print_json
from esper_telemetry.commands.progress import measured
from esper_telemetry.commands.reading import files_argument, find_files, json_option
from esper_telemetry.recordfile import verify

if TYPE_CHECKING:
    from esper_telemetry.recordfile import Verification


@click.command
@files_argument
@json_option
def command(files: tuple[str, ...], *, as_json: bool) -> int:
    """Check everything that a record states: checksums, sizes, counts, numbers, times, index, seek table.

    Exit code 0: nothing is wrong; 4: something is. A record that is not closed is good as far as it goes.
    """
    with measured(find_files(files), "verifying") as paths:
        found = [verify(path, progress=show) for path, show in paths]
    if as_json:
        print_json([_document(checked) for checked in found])
    else:
        for checked in found:
            _print_text(checked)
    return FINE if all(checked.good for checked in found) else PROBLEM


def _print_text(checked: Verification) -> None:
    verdict = "good" if checked.good else plural(len(checked.problems), "problem")
    state = "closed" if checked.closed else "not closed"
    amount = f"{plural(checked.records, 'event')} in {plural(checked.frames, 'frame')}"
    print(f"{verdict}  {checked.path}  {amount}, {state}")
    for problem in checked.problems:
        print(f"  at byte {problem.offset:,}: {problem}")
    for text in checked.notes:
        note(f"  {text}")
    if checked.unknown_types:
        note(f"  {plural(checked.unknown_types, 'event')} cannot be decoded by the descriptors of the record")


def _document(checked: Verification) -> dict[str, Any]:
    names = ("path", "good", "closed", "size", "segments", "frames", "records", "raw_bytes", "unknown_types", "notes")
    problems = [
        {
            "offset": problem.offset,
            "end": problem.end,
            "reason": problem.reason,
            "first_seq": problem.first_seq,
            "last_seq": problem.last_seq,
        }
        for problem in checked.problems
    ]
    return {**{name: getattr(checked, name) for name in names}, "problems": problems}
