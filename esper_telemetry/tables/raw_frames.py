"""The frames of records in the order that tables have: stream after stream, each in the order of its numbers.

What is there twice is given once, and what is damaged, missing or cut off is noted in the faults, as by `read`. One
frame is in memory at a time; frames that hold nothing wanted are not decompressed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.decode.frameplaces import frames_elsewhere
from esper_telemetry.decode.landmarks import Landmarks
from esper_telemetry.decode.losses import StreamLosses
from esper_telemetry.decode.streams import OpenReaders, by_stream, frames_once, parts
from esper_telemetry.decode.superseded import several_attempts, superseded
from esper_telemetry.decode.types import Origin
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.tables.envelopes import Home, RawFrame

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from esper_telemetry.decode import Filter, SegmentPlace, Survey
    from esper_telemetry.decode.faults import Faults
    from esper_telemetry.recordfile import FrameRef, RecordReader, Segment

    StreamKey = tuple[str, int, bytes]
    Taken = tuple[SegmentPlace, RecordReader, Segment]


_ALL = 1 << 64


class RawFrames:
    """The frames of records. Each iteration reads them anew.

    Args:
        found: the records.
        wanted: which events; frames that cannot hold one are passed over.
        faults: where damage and losses are noted.
        expand: rows of blocks of steps are wanted.
        latest: leave out what a later attempt at a run did again.
        spans: by stream, the number before its first event that is wanted and that of the last one; None for all.
    """

    def __init__(
        self,
        found: Survey,
        wanted: Filter,
        faults: Faults,
        *,
        expand: bool,
        latest: bool,
        spans: Mapping[StreamKey, tuple[int, int]] | None = None,
    ) -> None:
        self._places = found.places
        self._wanted = wanted
        self._faults = faults
        self._expand = expand
        self._latest = latest
        self._spans = spans
        self._span = 0, _ALL
        self._homes: dict[tuple[str, int], Home] = {}

    def __iter__(self) -> Iterator[RawFrame]:
        kept: dict[tuple[str, int, bytes], tuple[int, int]] = {}
        if self._latest:
            again = superseded(self._places)
            self._faults.warnings += again.warnings
            self._faults.notes += again.notes
            kept = again.last_kept
        else:
            self._faults.notes += several_attempts(self._places)
        readers = OpenReaders(self._places, self._faults)
        try:
            for places in by_stream(self._places):
                key = places[0].stream_key
                after, until = (0, _ALL) if self._spans is None else self._spans.get(key, (0, 0))
                if after >= until:
                    continue
                self._span = after, until
                for frame in self._stream(places, readers):
                    yield frame._replace(last=kept.get(key), above=max(after, frame.above))
        finally:
            readers.close()

    def _stream(self, places: Sequence[SegmentPlace], readers: OpenReaders) -> Iterator[RawFrame]:
        losses = StreamLosses()
        ordered = parts(places)
        for part in ordered:
            copies = readers.take_part(part)
            if not copies:
                continue
            place, reader, segment = copies[0]
            losses.add(place, Landmarks(reader, segment), [each for _, _, each in copies])
            if len(copies) == 1:
                yield from self._frames(reader, segment)
            else:
                self._faults.copied([str(each.path) for each, _, _ in copies])
                yield from self._frames_once(copies)
            if part is ordered[-1]:
                place, reader, segment = max(copies, key=lambda one: (one[2].last_seq, one[2].closed))
                losses.end(place, Landmarks(reader, segment), reader, segment)
            for each in part:
                readers.give_back(each.path)
        losses.report(self._faults)

    def _frames(self, reader: RecordReader, segment: Segment) -> Iterator[RawFrame]:
        if not self._wanted.wants_rank(segment.header.rank):
            return
        home = self._home(reader, segment)
        selection = self._wanted.selection(home.origin, expand=self._expand)
        elsewhere = frames_elsewhere(segment, home.origin, self._wanted)
        for item in self._faults.frames(reader.path, segment):
            if item.offset in elsewhere:
                continue
            if self._in_span(item) and selection.concerns(item) and (raw := self._raw(reader, item)) is not None:
                yield RawFrame(raw, item, home)

    def _frames_once(self, copies: Sequence[Taken]) -> Iterator[RawFrame]:
        """Yield the frames of segments that hold the same numbers, each once, from any copy that has it whole."""
        if not self._wanted.wants_rank(copies[0][2].header.rank):
            return
        readers = {id(segment): reader for _, reader, segment in copies}
        elsewhere = {
            id(one): frames_elsewhere(one, self._home(reader, one).origin, self._wanted) for _, reader, one in copies
        }
        reached = 0
        for frames in frames_once(segment for _, _, segment in copies):
            if any(frame.offset in elsewhere[id(segment)] for segment, frame in frames):
                reached = frames[0][1].last_seq
                continue
            for at, (segment, frame) in enumerate(frames):
                reader = readers[id(segment)]
                home = self._home(reader, segment)
                selection = self._wanted.selection(home.origin, expand=self._expand)
                if not (self._in_span(frame) and selection.concerns(frame)):
                    break
                try:
                    raw: bytes | None = reader.decompress(frame)
                except CorruptRecordError:
                    if at + 1 < len(frames):
                        continue
                    raw = self._raw(reader, frame)
                if raw is not None:
                    yield RawFrame(raw, frame, home, above=reached)
                break
            reached = frames[0][1].last_seq

    def _in_span(self, frame: FrameRef) -> bool:
        after, until = self._span
        return after < frame.last_seq and frame.first_seq <= until

    def _raw(self, reader: RecordReader, frame: FrameRef) -> bytes | None:
        try:
            return reader.decompress(frame)
        except CorruptRecordError as error:
            self._faults.unreadable(reader.path, frame, error)
            return None

    def _home(self, reader: RecordReader, segment: Segment) -> Home:
        known = reader.path, segment.number
        if known not in self._homes:
            origin = Origin(segment, reader.path, self._faults.unknown)
            key = id(origin.schema), frozenset(segment.types.items())
            self._homes = {known: Home(origin, dict(segment.types), key)} | dict(list(self._homes.items())[:7])
        return self._homes[known]
