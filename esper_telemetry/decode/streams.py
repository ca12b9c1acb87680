"""Which segments are of one stream, in which order, and which hold the same sequence numbers; and open files.

Segments that hold the same sequence numbers (a file and its copy, a record and what was filtered from it) are one
part of a stream: of it, each frame is read and counted once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.errors import CorruptRecordError, RecordError
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.filtered import FILTERED
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.source import OpenFiles, open_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from esper_telemetry.decode.faults import Faults
    from esper_telemetry.recordfile import FrameRef, Segment
    from esper_telemetry.v1 import record_pb2


_NAMED = 3


class SegmentPlace(NamedTuple):
    """A segment and where it is.

    Attributes:
        path: the file.
        number: position in the file, from 0: a concatenation or a merge holds several.
        header: its header, without types and descriptors.
        events: how many it holds, as its descriptors state.
        last_seq: last sequence number that it covers.
        first_time: earliest time of an event in it, nanoseconds since 1970 UTC; 0 without events.
        intact: nothing of it is damaged or cut.
        in_folder: it is in a run folder of which every file is read.
        spare: header that is assumed where the file has lost its own.
        last_time: latest time of an event in it, nanoseconds since 1970 UTC; 0 without events.
    """

    path: Path
    number: int
    header: record_pb2.Header
    events: int
    last_seq: int
    first_time: int
    intact: bool = True
    in_folder: bool = False
    spare: record_pb2.Header | None = None
    last_time: int = 0

    @property
    def stream_key(self) -> tuple[str, int, bytes]:
        """What the segments of one stream share."""
        return self.header.stream, self.header.rank, self.header.producer_id

    @property
    def attempt(self) -> int:
        """The attempt at the run that its stream belongs to, from 1."""
        return self.header.attempt or 1

    @property
    def filtered(self) -> bool:
        """Whether events were left out of it on purpose."""
        return FILTERED in self.header.attributes


def shared_ranks(places: Iterable[SegmentPlace]) -> list[str]:
    """Return a sentence for each rank that several processes had in one attempt at a run; their children aside."""
    writers: defaultdict[tuple[str, int, int], dict[bytes, record_pb2.Header]] = defaultdict(dict)
    for place in places:
        header = place.header
        if header.producer_id and not header.parent_producer_id:
            writers[header.run_id, header.rank, place.attempt].setdefault(header.producer_id, header)
    return [
        f"run {run_id}: {len(found)} processes wrote as rank {rank} ("
        + ", ".join(f"{one.pid} on {one.host}" for one in list(found.values())[:_NAMED])
        + "): the events of all of them are there; give each process of a run a rank of its own"
        for (run_id, rank, _), found in writers.items()
        if len(found) > 1
    ]


def in_order(places: Iterable[SegmentPlace]) -> list[SegmentPlace]:
    """Return segments by stream, each in the order of its sequence numbers; streams of a rank by attempt and start."""
    known = list(places)
    started: dict[tuple[str, int, bytes], tuple[int, int]] = {}
    for place in known:
        start = place.header.segment, place.header.anchor_unix_nano
        started[place.stream_key] = min(start, started.get(place.stream_key, start))

    def order(place: SegmentPlace) -> tuple[object, ...]:
        name, rank, producer = place.stream_key
        _, start = started[place.stream_key]
        segment = place.header.segment, place.header.previous_last_seq
        return name, rank, place.attempt, start, producer, *segment

    return sorted(known, key=order)


def by_stream(places: Iterable[SegmentPlace]) -> list[list[SegmentPlace]]:
    """Return ordered segments as one list for each stream."""
    return [list(group) for _, group in groupby(places, key=lambda place: place.stream_key)]


def parts(places: Sequence[SegmentPlace]) -> list[list[SegmentPlace]]:
    """Return the segments of one stream in the order of their sequence numbers; those that hold the same ones together.

    Nearly always every part is one segment. Else the most complete one comes first, and those that were filtered are
    left out where an unfiltered one is there.
    """
    found: list[list[SegmentPlace]] = []
    reached = 0
    for place in sorted(places, key=lambda place: (place.header.previous_last_seq, place.header.segment)):
        again = bool(found) and (
            place.header.previous_last_seq < reached
            or any(other.header.file_id == place.header.file_id for other in found[-1])
        )
        if again:
            found[-1].append(place)
        else:
            found.append([place])
        reached = max(reached, place.last_seq)
    return [_best_first(part) if len(part) > 1 else part for part in found]


def _best_first(part: list[SegmentPlace]) -> list[SegmentPlace]:
    whole = [place for place in part if not place.filtered] or part
    return sorted(whole, key=lambda place: (-place.events, not place.intact))


def frames_once(segments: Iterable[Segment]) -> list[list[tuple[Segment, FrameRef]]]:
    """Return the frames of segments with the same sequence numbers in the order of these, each with its copies.

    A frame whose sequence numbers are all covered by those before it is left out.
    """
    found = [(segment, frame) for segment in segments for frame in segment.frames]
    found.sort(key=lambda one: (one[1].first_seq, -one[1].last_seq, -one[1].records))
    once: list[list[tuple[Segment, FrameRef]]] = []
    reached = 0
    for one in found:
        frame = one[1]
        if once and _numbers(once[-1][0][1]) == _numbers(frame):
            once[-1].append(one)
        elif frame.last_seq > reached:
            once.append([one])
            reached = frame.last_seq
    return once


def _numbers(frame: FrameRef) -> tuple[int, int, int]:
    return frame.first_seq, frame.last_seq, frame.records


class OpenReaders:
    """Opens each file when its first segment is read, and closes it when its last one was.

    However many files are in use at once, few of them are open: the others are opened again when they are read.

    Args:
        places: every segment that will be read, once.
        faults: where it is recorded what each file states of itself.
    """

    def __init__(self, places: Sequence[SegmentPlace], faults: Faults) -> None:
        self._left = Counter(place.path for place in places)
        self._faults = faults
        self._files = OpenFiles()
        self._open: dict[Path, RecordReader] = {}
        self._decoder = FrameDecoder()
        self._schemas: dict[bytes, bytes] = {}

    def take(self, place: SegmentPlace) -> tuple[RecordReader, Segment]:
        """Return the reader of a file, and the segment in it.

        Raises:
            RecordError: it cannot be opened any more or holds something else now, or is damaged and the faults
                are strict.
        """
        reader = self._open.get(place.path)
        if reader is None:
            source = open_source(place.path, self._files)
            reader = self._open[place.path] = RecordReader(source, spare=place.spare, decoder=self._decoder)
            self._faults.opened(reader)
            self._share_schemas(reader)
        segment = reader.segments[place.number] if place.number < len(reader.segments) else None
        if segment is None or segment.header.file_id != place.header.file_id:
            raise RecordError("it was replaced by another file while it was read; read again", path=reader.path)
        return reader, segment

    def take_part(self, part: Iterable[SegmentPlace]) -> list[tuple[SegmentPlace, RecordReader, Segment]]:
        """Return the segments of a part with their readers; one that is gone meanwhile is recorded in the faults.

        Raises:
            CorruptRecordError: something is damaged, and the faults are strict.
        """
        taken = []
        for place in part:
            try:
                taken.append((place, *self.take(place)))
            except CorruptRecordError:
                raise
            except RecordError as error:
                numbers = place.header.previous_last_seq + 1, place.last_seq
                self._faults.gone(str(place.path), error, numbers)
        return taken

    def _share_schemas(self, reader: RecordReader) -> None:
        """Hold descriptors once, however many files carry the same ones: they are most of what a reader keeps."""
        for segment in reader.segments:
            segment.header.ClearField("file_descriptor_set")
            segment.descriptor_sets[:] = [self._schemas.setdefault(one, one) for one in segment.descriptor_sets]

    def give_back(self, path: Path) -> None:
        """Record that one segment of a file has been read."""
        self._left[path] -= 1
        if not self._left[path] and path in self._open:
            self._open.pop(path).close()

    def close(self) -> None:
        """Close what is still open."""
        for reader in self._open.values():
            reader.close()
        self._open.clear()
