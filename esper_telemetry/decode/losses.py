"""What is lost of a stream, measured: the sequence numbers that were given out, less those that have an event.

Every event has a sequence number before anything can be dropped, so what is not there is counted, whatever the run
reports. What the run reports explains the count: losses with a cause, and those without one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esper_telemetry.decode.landmarks import FINISHED, causes_in
from esper_telemetry.decode.streams import frames_once
from esper_telemetry.recordfile import SkipReason
from esper_telemetry.recordfile.lock import writer_gone
from esper_telemetry.recordfile.run_folder import KEEP_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from esper_telemetry.decode.faults import Faults
    from esper_telemetry.decode.landmarks import Landmarks
    from esper_telemetry.decode.streams import SegmentPlace
    from esper_telemetry.recordfile import RecordReader, Segment


@dataclass(slots=True)
class StreamLosses:
    """The sequence numbers of one stream; it is given the parts of the stream in order, then its end.

    Attributes:
        last_seq: last sequence number that is known to have been given out.
        present: events that are there.
        missing: sequence numbers without an event, in and between the segments, before and after them.
        pruned: sequence numbers before the first segment that retention deleted as configured; not missing.
        marked: those of `missing` that the files account for: damaged frames, and ranges marked as lost by reason.
        causes: what the run reports as lost, by cause; it counts the whole run.
        finished: the stream itself states how it ended.
        writing: a process is writing it now.
        open_end: its writer is gone and did not state that it was done: what came after `last_seq` is unknown.
        warnings: file and sentence for each loss.
        notes: file and sentence for what is worth knowing and no loss.
        unknown_end: the one of `warnings` that reports an open end; empty where there is none or a cut file tells.
    """

    last_seq: int = 0
    present: int = 0
    missing: int = 0
    pruned: int = 0
    marked: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    finished: bool = False
    writing: bool = False
    open_end: bool = False
    warnings: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    unknown_end: str = ""
    _begun: bool = False
    _filtered: bool = False
    _in_run: bool = False
    _path: str = ""

    def add(self, place: SegmentPlace, landmarks: Landmarks, copies: Sequence[Segment]) -> None:
        """Take the next part of the stream.

        Args:
            place: its segment, the most complete one of several copies.
            landmarks: what that one reports of the run.
            copies: that segment and those that hold the same sequence numbers.
        """
        segment = copies[0]
        self._path = str(place.path)
        before = min(each.header.previous_last_seq for each in copies)
        self._before(place, before, segment)
        if not self._begun:
            self._in_run = landmarks.begins_run
        present = sum(frames[0][1].records for frames in frames_once(copies)) if len(copies) > 1 else segment.records
        last = max(each.last_seq for each in copies)
        self.present += present
        self._filtered |= place.filtered
        if not place.filtered:
            self.missing += max(0, last - before - present)
        if len(copies) == 1:
            self._account(segment)
        self.last_seq = max(self.last_seq, last)
        self._begun = True
        if self.missing:
            self.causes.update(landmarks.drops)

    def end(self, place: SegmentPlace, landmarks: Landmarks, reader: RecordReader, segment: Segment) -> None:
        """Record that the stream has no further part; the arguments are its last one."""
        finished = landmarks.finished
        self.finished = bool(finished)
        if finished:
            self.causes = causes_in(finished)
            self._behind(int(finished.get("offered", 0)))
        at_end = segment is reader.segments[-1]
        self.writing = not self.finished and at_end and not reader.closed and not _gone(place.path)
        if not (self.finished or self.writing or self._filtered):
            self._unfinished(place, reader, segment)
        if self.missing:
            self.warnings.append((self._path, f"{self.missing:,} sequence numbers have no event: {self.explanation()}"))
        if self.pruned:
            stated = (
                f"sequence numbers 1 to {self.pruned:,} are not here: retention (keep_bytes) deleted their segments"
            )
            self.notes.append((self._path, stated))

    def report(self, faults: Faults) -> None:
        """Add what was measured of the stream, once it has been read, to `faults`."""
        faults.missing += self.missing
        faults.marked += self.marked.total()
        faults.losses += self.warnings
        faults.open_ends += [f"{self._path}: {self.unknown_end}"] if self.unknown_end else []
        for path, text in self.warnings:
            faults.warn(path, text)
        faults.notes += [f"{path}: {text}" for path, text in self.notes]

    def explanation(self) -> str:
        """Return what the run reports of the sequence numbers that are missing: "buffer_full 7, 5 without a cause"."""
        known = Counter(self.marked)
        left = max(0, self.missing - known.total())
        for cause, count in self.causes.most_common():
            known[cause] += min(count, left)
            left -= min(count, left)
        stated = [f"{cause} {count:,}" for cause, count in known.most_common() if count]
        return ", ".join([*stated, f"{left:,} without a cause"] if left else stated)

    def summary(self) -> str:
        """Return the losses in a few words."""
        given = self.present + self.missing
        stated = f"{self.missing:,} of {given:,} {'event' if given == 1 else 'events'}"
        stated += f": {self.explanation()}" if self.missing else ""
        if self.pruned:
            stated += f"; sequence numbers 1 to {self.pruned:,} were deleted by retention"
        if self.writing:
            stated += " so far"
        if self.open_end:
            stated += f"; what came after sequence number {self.last_seq:,} is unknown"
        return stated

    def _account(self, segment: Segment) -> None:
        """Count the sequence numbers whose loss the file itself accounts for."""
        for skip in segment.skips:
            self.marked[_REASONS.get(skip.reason, f"reason {skip.reason}")] += skip.last_seq - skip.first_seq + 1
            self._warn(f"sequence numbers {skip.first_seq:,} to {skip.last_seq:,} are marked as lost")
        for damage in segment.damage:
            if damage.first_seq is not None and damage.last_seq is not None:
                self.marked["damaged"] += damage.last_seq - damage.first_seq + 1

    def _before(self, place: SegmentPlace, before: int, segment: Segment) -> None:
        """Measure what is missing between this part and the one before, or before the first one."""
        header = place.header
        if place.filtered or before <= self.last_seq:
            return
        if self._begun:
            self._lost(self.last_seq + 1, before, "the segment before lost them, or is not here")
        elif place.in_folder and not segment.assumed:
            if KEEP_BYTES in header.attributes:
                self.pruned = before
            else:
                self._lost(1, before, f"segment {header.segment:,} is the first one here")
        self.last_seq = before

    def _behind(self, offered: int) -> None:
        """Measure what was given out after the last sequence number that is here, as the end of the run reports it."""
        if offered > self.last_seq and not self._filtered:
            self._lost(self.last_seq + 1, offered, f"{FINISHED} counts them")
            self.last_seq = offered

    def _unfinished(self, place: SegmentPlace, reader: RecordReader, segment: Segment) -> None:
        """Report that what came after the last sequence number is unknown."""
        if place.header.parent_producer_id:
            self._cut_off(place)
            return
        if not segment.closed:
            self.open_end = True
            if reader.truncation is None or segment is not reader.segments[-1]:
                self._warn_of_end(
                    f"no end: its writer is gone, and what came after sequence number {self.last_seq:,} is unknown"
                )
        elif place.in_folder and self._in_run:
            self.open_end = True
            self._warn_of_end(
                f"no end: {FINISHED} is not here, and what came after sequence number {self.last_seq:,} is unknown"
            )

    def _cut_off(self, place: SegmentPlace) -> None:
        """Report what a child process may have lost that did not record its end; its run may have gone on."""
        header = place.header
        self.open_end = True
        self._warn_of_end(
            f"child process {header.pid} ended without an end event after sequence number {self.last_seq:,}: it may"
            f" have lost what it emitted in its last {header.flush_policy.flush_interval_s:g} s"
        )

    def _lost(self, first: int, last: int, why: str) -> None:
        self.missing += last - first + 1
        self._warn(f"sequence numbers {first:,} to {last:,} are missing: {why}")

    def _warn_of_end(self, text: str) -> None:
        self.unknown_end = text
        self._warn(text)

    def _warn(self, text: str) -> None:
        self.warnings.append((self._path, text))


_REASONS: dict[int, str] = {
    SkipReason.UNSPECIFIED: "marked as lost",
    SkipReason.SPOOL_LOST: "file gone",
    SkipReason.CORRUPT: "damaged",
    SkipReason.TOO_BIG: "over a limit",
}


def _gone(path: Path) -> bool:
    try:
        return writer_gone(path)
    except OSError:  # removed
        return True
