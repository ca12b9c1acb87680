"""`esper-telemetry verify`: check every frame, event, count and descriptor of a record, its numbers and its values."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from esper_telemetry.commands.output import FINE, INCOMPLETE, PROBLEM, note, plural, print_json, print_text, warn
from esper_telemetry.commands.progress import measured
from esper_telemetry.commands.reading import EachFile, files_argument, find_files, json_option
from esper_telemetry.decode import Filter, RangeCheck, Records, survey
from esper_telemetry.errors import RecordError
from esper_telemetry.recordfile import verify

if TYPE_CHECKING:
    from esper_telemetry.decode import OutOfRange, RecordFiles
    from esper_telemetry.recordfile import Verification


@click.command
@files_argument
@json_option
def command(files: tuple[str, ...], *, as_json: bool) -> int:
    """Check everything that a record states: checksums, sizes, counts, numbers, times, index, seek table, ranges.

    Numbers that were given out and have no event are a problem, with a cause or without one, but
    where the record itself marks their range as lost, which is told beside the verdict; so are
    values outside the range of their schema. Exit code 0: nothing is wrong; 4: something
    is; 3: nothing is wrong with the records, but not every file is one, or a writer is gone without
    an end, so that what came after its last event is unknown. A record that is being written is
    good as far as it goes.
    """
    found = find_files(files)
    each = EachFile(found)
    with measured(found.files, "verifying") as paths:
        verified = [each.attempt(partial(verify, path, progress=show)) for path, show in paths]
    checked = [one for one in verified if one is not None]
    content = _Content(found)
    if as_json:
        print_json([_document(one, content) for one in checked])
    else:
        for one in checked:
            _print_text(one, content)
    for text in content.open_ends:
        warn(text)
    for text in content.notes:
        note(f"  {text}")
    good = all(one.good for one in checked) and content.good
    return each.tell((INCOMPLETE if content.open_ends else FINE) if good else PROBLEM)


class _Content:
    """What the events of all files show together: numbers that are missing, values that are out of range.

    Attributes:
        missing: numbers without an event, but those that are marked as lost, which is told with their frames.
        losses: file and sentence.
        ranges: values out of range.
        notes: what is worth knowing and no problem.
        open_ends: file and sentence for each stream whose writer is gone without an end.
    """

    def __init__(self, found: RecordFiles) -> None:
        self.missing = 0
        self.losses: list[tuple[str, str]] = []
        self.ranges: list[OutOfRange] = []
        self.notes: list[str] = []
        self.open_ends: list[str] = []
        try:
            records = Records(survey(found), Filter(), strict=False)
            check = RangeCheck()
            for event in records:
                check.look(event)
        except RecordError:
            return  # what cannot be read was told when it was verified
        self.missing, self.losses = records.missing - records.marked, list(records.losses)
        self.ranges = list(check.found.values())
        self.notes = list(records.notes)
        if not self.missing:  # an end that was never written is no problem of what is there
            self.open_ends = list(records.open_ends)
            told = [f"{path}: {text}" for path, text in self.losses]
            self.notes += [text for text in told if text not in self.open_ends]
            self.losses = []

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.missing or self.ranges)

    def problems(self, path: str) -> list[str]:
        """Return what is wrong with the events of a file, or with the stream that ends in it."""
        lost = [text for where, text in self.losses if where == path]
        return lost + [str(one) for one in self.ranges if one.path == path]


def _print_text(checked: Verification, content: _Content) -> None:
    problems = content.problems(checked.path)
    count = len(checked.problems) + len(problems)
    verdict = plural(count, "problem") if count else "good"
    state = "closed" if checked.closed else "not closed"
    amount = f"{plural(checked.records, 'event')} in {plural(checked.frames, 'frame')}"
    print_text(f"{verdict}  {checked.path}  {amount}, {state}")
    for problem in checked.problems:
        print_text(f"  at byte {problem.offset:,}: {problem}")
    for text in problems:
        print_text(f"  {text}")
    for text in checked.notes:
        note(f"  {text}")
    if checked.unknown_types:
        note(f"  {plural(checked.unknown_types, 'event')} cannot be decoded by the descriptors of the record")


def _document(checked: Verification, content: _Content) -> dict[str, Any]:
    names = ("path", "closed", "size", "segments", "frames", "records", "raw_bytes", "unknown_types", "notes")
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
    told = content.problems(checked.path)
    return {
        **{name: getattr(checked, name) for name in names},
        "good": checked.good and not told,
        "problems": problems,
        "content": told,
    }
