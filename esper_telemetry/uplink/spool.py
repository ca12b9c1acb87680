"""The spool of one producer: its segments in order, as one stream of frames without a hole.

Where sequence numbers are missing it yields a Skip, so that what it yields is contiguous. It
follows a writer into the next segment, and reports how the stream ended: by a footer, or by a
writer that is gone. `release` is the only thing in this package that deletes.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.errors import NotARecordError, RecordError, UnsupportedRecordError
from esper_telemetry.recordfile import RecordReader, SegmentName, Skip, SkipReason
from esper_telemetry.recordfile.filtered import FILTERED
from esper_telemetry.recordfile.follow import next_segment
from esper_telemetry.recordfile.lock import writer_gone
from esper_telemetry.uplink.segment_frames import Frame, SegmentFrames, merge_headers
from esper_telemetry.uplink.straddling import rest_of
from esper_telemetry.v1 import collector_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from esper_telemetry.uplink.segment_frames import StreamSchema
    from esper_telemetry.v1 import record_pb2

FINISHED = collector_pb2.CLOSE_OUTCOME_FINISHED
WRITER_LOST = collector_pb2.CLOSE_OUTCOME_WRITER_LOST
INCOMPLETE = collector_pb2.CLOSE_OUTCOME_INCOMPLETE


class SpoolSegment(NamedTuple):
    """Where a segment is stored.

    Attributes:
        path: the file.
        start: offset of its prologue; not 0 only in a file that was joined from several.
        header: its first header.
    """

    path: Path
    start: int
    header: record_pb2.Header

    @property
    def producer(self) -> tuple[str, bytes]:
        """Run and producer whose numbers it holds."""
        return self.header.run_id, self.header.producer_id

    @property
    def first_seq(self) -> int:
        """First number it covers."""
        return self.header.previous_last_seq + 1


def find_segments(path: Path) -> list[SpoolSegment]:
    """Return the segments in a file, usually one.

    Raises:
        RecordError: it is no record, or not even its first header is whole.
        UnsupportedRecordError: a newer format, or `filter` wrote it: a collector takes each number once, so that what
            was left out could never come after it.
    """
    with RecordReader(path) as reader:
        found = [SpoolSegment(path, segment.offset, segment.header) for segment in reader.segments]
    if any(FILTERED in place.header.attributes for place in found):
        raise UnsupportedRecordError(
            "filter made it, with events left out: a collector would take these for all of its producer, and the"
            " original for sent; push the original",
            path=str(path),
        )
    return found


class Spool:
    """One producer's segments.

    Args:
        places: at least one segment; more may be added.
        follow: wait for a living writer instead of ending where the files end now.

    Attributes:
        header: the first segment's first header: who the producer is.
        outcome: a CloseOutcome once nothing more will come, else None.
    """

    def __init__(self, places: Iterable[SpoolSegment], *, follow: bool) -> None:
        self._follow = follow
        self._places: list[SpoolSegment] = []
        self._damages: dict[tuple[Path, int], list[str]] = {}
        self.add(places)
        self.header = self._places[0].header
        self._held: Frame | Skip | None = None
        self._next = 0
        self._current = SegmentFrames(self._places[0].path, self._places[0].start)
        self.seek(1)

    @property
    def first_seq(self) -> int:
        """First number that the files may still hold."""
        return self._places[0].first_seq

    @property
    def final_seq(self) -> int:
        """Last number yielded, or passed by `seek`; the producer's last one once `outcome` is known."""
        return self._next - 1

    @property
    def schema(self) -> StreamSchema:
        """The schema at the present place."""
        return self._current.schema or merge_headers([self._places[self._at].header])

    @property
    def damages(self) -> list[str]:
        """What could not be read, as sentences."""
        return [sentence for sentences in self._damages.values() for sentence in sentences]

    @property
    def paths(self) -> list[Path]:
        """The files that hold this producer's frames and nothing else."""
        return [place.path for place in self._places if _stands_alone(place)]

    def add(self, places: Iterable[SpoolSegment]) -> None:
        """Add segments of the same producer; one that is known already (by its file id) is left out."""
        known = {place.header.file_id for place in self._places}
        for place in places:
            if place.header.file_id not in known:
                known.add(place.header.file_id)
                self._places.append(place)
        self._places.sort(key=lambda place: (place.header.segment, place.start))

    def seek(self, seq: int) -> None:
        """Go to number `seq`: what is yielded next starts there.

        Raises:
            RecordError: a file is gone or cannot be read.
        """
        self.outcome: int | None = None
        if seq == self._next and self._held is None:
            return  # it is there already
        self._next = seq
        self._held = None
        at = max((i for i, place in enumerate(self._places) if place.first_seq <= seq), default=0)
        self._damaged = False
        self._go(at, seq)

    def read(self) -> Frame | Skip | None:
        """Return what comes next, contiguous with what came before; None when there is nothing yet, or no more.

        Raises:
            RecordError: a file is gone or cannot be read.
        """
        item = self._held or self._read()
        while item is not None and item.last_seq < self._next:
            item = self._read()
        self._held = None
        if item is None:
            return None
        if item.first_seq > self._next:
            self._held = item
            damaged = self._damaged or self._current.damaged
            reason = SkipReason.CORRUPT if damaged else SkipReason.SPOOL_LOST
            item = Skip(self._next, item.first_seq - 1, reason)
        elif item.first_seq < self._next:  # a collector takes no half of a frame, and a record may be compacted
            item = rest_of(item, self._next) if isinstance(item, Frame) else item._replace(first_seq=self._next)
        self._next = item.last_seq + 1
        self._damaged = self._current.damaged = False
        return item

    def release(self, durable_seq: int, keep: Iterable[tuple[int, int]] = ()) -> list[Path]:
        """Delete the files that are finished and durable at the collector; return them.

        Args:
            durable_seq: last number that is durable.
            keep: ranges that could not be sent; a file that holds any of them stays, and those after it.
        """
        gone: list[Path] = []
        while self._finished(0) and self._last_seq(0) <= durable_seq:
            place, last = self._places[0], self._last_seq(0)
            if not _stands_alone(place) or any(a <= last and b >= place.first_seq for a, b in keep):
                break
            with contextlib.suppress(OSError):
                place.path.unlink()
                gone.append(place.path)
            if len(self._places) == 1:
                break
            del self._places[0]
            self._at -= 1
        return gone

    def writer_lives(self) -> bool:
        """Return whether a process still writes the last segment."""
        self._discover()
        try:
            return not writer_gone(self._places[-1].path)
        except OSError:
            return False

    def close(self) -> None:
        """Close the files."""
        self._current.close()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _go(self, at: int, seq: int) -> None:
        self.close()
        self._at = at
        self._quiet = False
        place = self._places[at]
        self._current = SegmentFrames(place.path, place.start)
        try:
            self._current.seek(seq)
        except NotARecordError as error:  # it was deleted: its numbers become a Skip
            self._current.damages.append(str(error))
            self._current.ended = True
        self._damages[place.path, place.start] = self._current.damages

    def _read(self) -> Frame | Skip | None:
        while self.outcome is None:
            item = self._current.read()
            if item is not None:
                self._quiet = False
                return item
            if not self._move_on():
                return None
        return None

    def _move_on(self) -> bool:
        """Tell whether reading goes on: in the next segment, or here once more."""
        has_next = self._discover()
        if not (self._current.ended or self._quiet):
            # What was written before the writer released the file, or opened the next segment, is read once more.
            self._quiet = has_next or self._writer_gone()
            if not self._quiet and not self._follow:
                self.outcome = INCOMPLETE
            return self._quiet
        if has_next:
            self._damaged |= self._current.damaged
            self._go(self._at + 1, self._next)
            return True
        self.outcome = FINISHED if self._current.closed else WRITER_LOST
        return False

    def _writer_gone(self) -> bool:
        try:
            return writer_gone(self._places[self._at].path)
        except OSError:
            return True

    def _discover(self) -> bool:
        """Look for segments that the writer has opened since; return whether there are any after the present one."""
        while self._follow and (place := self._next_place(self._places[-1])) is not None:
            self._places.append(place)
        return self._at + 1 < len(self._places)

    def _next_place(self, last: SpoolSegment) -> SpoolSegment | None:
        """Return the next segment that can be read: retention may have removed those between, and some may be bad."""
        path: Path | None = last.path
        while path is not None and (path := next_segment(path)) is not None:
            with contextlib.suppress(RecordError):  # its header is being written, or it is no record
                place = find_segments(path)[0]
                return place if place.producer == last.producer else None
        return None

    def _finished(self, at: int) -> bool:
        if at < self._at:
            return True
        return at == self._at and self.outcome in (FINISHED, WRITER_LOST) and self._held is None

    def _last_seq(self, at: int) -> int:
        return self._places[at + 1].first_seq - 1 if at + 1 < len(self._places) else self.final_seq


def _stands_alone(place: SpoolSegment) -> bool:
    """Tell whether a file is one writer's segment by its name: others may hold more than this producer's frames."""
    name = SegmentName.parse(place.path)
    return name is not None and not place.start and name.boot == place.header.producer_id[:4].hex()
