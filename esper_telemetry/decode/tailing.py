"""The last events of a record, and those that are written after them: `tail -f`, over segments and streams."""

from __future__ import annotations

import contextlib
import heapq
import time
from collections import deque
from operator import attrgetter
from typing import TYPE_CHECKING

from esper_telemetry.decode.declared import declared_types
from esper_telemetry.decode.faults import Faults
from esper_telemetry.decode.inputs import record_files
from esper_telemetry.decode.jsonlines import stream_keys
from esper_telemetry.decode.segments import SegmentDecoder
from esper_telemetry.decode.streams import OpenReaders, by_stream, parts
from esper_telemetry.decode.survey import survey
from esper_telemetry.errors import NotARecordError, RecordError
from esper_telemetry.recordfile import StreamFollower

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from esper_telemetry.decode.declared import DeclaredTypes
    from esper_telemetry.decode.event import Event
    from esper_telemetry.decode.event_filter import Filter
    from esper_telemetry.decode.inputs import RecordFiles, RecordPath
    from esper_telemetry.decode.jsonlines import StreamKeys
    from esper_telemetry.decode.streams import SegmentPlace
    from esper_telemetry.decode.types import Origin
    from esper_telemetry.recordfile import Followed

_POLL_S = 0.05
# A folder is listed for new streams at every so many looks: listing a thousand segments takes ten milliseconds.
_LOOKS_PER_LISTING = 10


class Tail:
    """The end of a record.

    Args:
        path: files, run folders or patterns, as for `read`; a folder is watched for new streams.
        wanted: which events.
        expand: whether a block of steps is given as its rows.

    Attributes:
        found: what was surveyed at the start, with the types that it declares.

    Raises:
        RecordError: there is no such record.
    """

    def __init__(
        self, path: RecordPath | Sequence[RecordPath] | RecordFiles, wanted: Filter, *, expand: bool = True
    ) -> None:
        self._path = path
        self._wanted = wanted
        self._faults = Faults(strict=False)
        self._decoder = SegmentDecoder(wanted, self._faults, expand=expand)
        self._followers: dict[tuple[str, int, bytes], StreamFollower] = {}
        self._origins: dict[tuple[Path, int, int, int], Origin] = {}
        self._shown: dict[bytes, int] = {}
        self._begun = False  # a writer has a file and has written nothing yet
        found = survey(path)
        self.found = found
        self._known = set(found.files)  # a file that is no record may become one: its header is being written
        self._places = list(found.places)
        self._faults.warnings += found.warnings

    @property
    def warnings(self) -> Sequence[str]:
        """What was found damaged, missing or cut off so far."""
        return self._faults.warnings

    @property
    def unknown(self) -> Mapping[str, int]:
        """Events so far that the record does not explain, by the name of their type."""
        return self._faults.unknown

    @property
    def streams(self) -> int:
        """Streams that are known."""
        return len(by_stream(self._places))

    @property
    def keys(self) -> StreamKeys:
        """What tells the streams apart that are known."""
        return stream_keys(self._places)

    @property
    def types(self) -> DeclaredTypes:
        """The types that the files declared at the start."""
        return declared_types(self.found)

    def last(self, count: int) -> list[Event]:
        """Return the last `count` wanted events that are there now, streams merged by time."""
        readers = OpenReaders(self._places, self._faults)
        try:
            found = [self._last_of_stream(places, readers, count) for places in self._wanted_streams(self._places)]
        finally:
            readers.close()
        return _merged(found)[-count:] if count else []

    def follow(
        self, *, stop: Callable[[], bool] = lambda: False, sleep: Callable[[float], None] = time.sleep
    ) -> Iterator[list[Event]]:
        """Yield what is written after `last`, until every stream has ended.

        Args:
            stop: asked at every look; True ends it.
            sleep: how to wait.

        Raises:
            RecordError: a file cannot be read any more.
        """
        for places in self._wanted_streams(self._places):
            self._follow(places)
        looks = 0
        try:
            while not stop():
                events, grown = self._poll()
                if events:
                    yield events
                finished = all(follower.finished for follower in self._followers.values())
                looks += 1
                started = (finished or not looks % _LOOKS_PER_LISTING) and self._start_new()
                if finished and not started and not self._begun:
                    self._tell_ends()
                    return
                if not grown:
                    sleep(_POLL_S)
        finally:
            for follower in self._followers.values():
                follower.close()

    def _wanted_streams(self, places: Sequence[SegmentPlace]) -> list[list[SegmentPlace]]:
        return [stream for stream in by_stream(places) if self._wanted.wants_rank(stream[0].header.rank)]

    def _last_of_stream(self, places: Sequence[SegmentPlace], readers: OpenReaders, count: int) -> list[Event]:
        found: deque[list[Event]] = deque()
        held = 0
        for part in reversed(parts(places)):
            try:
                reader, segment = readers.take(part[0])
            except RecordError as error:  # retention was faster
                self._faults.gone(str(part[0].path), error, (part[0].header.previous_last_seq + 1, part[0].last_seq))
                continue
            producer = segment.header.producer_id
            self._shown[producer] = max(self._shown.get(producer, 0), segment.last_seq)
            for events in self._decoder.last_events(reader, segment):
                if held >= count:
                    break
                found.appendleft(events)
                held += len(events)
            if held >= count:
                break
        return [event for events in found for event in events][-count:]

    def _follow(self, places: Sequence[SegmentPlace]) -> None:
        """Follow a stream from its last segment that is still there."""
        for place in (part[0] for part in reversed(parts(places))):
            with contextlib.suppress(NotARecordError):  # removed meanwhile
                self._followers[place.stream_key] = StreamFollower(place.path, self._shown, place.spare)
                return

    def _tell_ends(self) -> None:
        """Report which streams ended without an end event."""
        for follower in self._followers.values():
            if follower.cut and not follower.truncated:
                reason = "its writer is gone, and what came after the last event is unknown"
                self._faults.warn(str(follower.path), f"no end: {reason}")

    def _poll(self) -> tuple[list[Event], bool]:
        """Return the events that are new and wanted, and whether anything was new."""
        polled = [follower.poll() for follower in self._followers.values()]
        events = _merged([[event for one in followed for event in self._events(one)] for followed in polled])
        return events, any(polled)

    def _start_new(self) -> bool:
        """Follow streams that have appeared; tell whether there are any. A rotation is their follower's business."""
        started = len(self._followers)
        self._begun = False
        for path in record_files(self._path):
            if path in self._known:
                continue
            try:
                places = survey(path).places
            except RecordError:  # its header is being written
                continue
            if not places:
                self._begun = True
                continue
            self._known.add(path)
            self._places += places
            for stream in self._wanted_streams(places):
                if stream[0].stream_key not in self._followers:
                    self._follow(stream)
        return len(self._followers) > started

    def _events(self, followed: Followed) -> Iterator[Event]:
        path = str(followed.path)
        if followed.damage is not None:
            self._faults.damaged(path, followed.damage)
        if followed.truncation is not None:
            self._faults.warn(path, str(followed.truncation))
        if followed.frame is not None and followed.content is not None:
            shown = self._shown.get(followed.segment.header.producer_id, 0)
            if followed.frame.last_seq > shown:
                yield from self._decoder.followed(followed.content, self._origin(followed), shown)

    def _origin(self, followed: Followed) -> Origin:
        segment = followed.segment
        key = followed.path, segment.number, len(segment.types), len(segment.descriptor_sets)
        origin = self._origins.get(key)
        if origin is None:
            self._origins.clear()
            origin = self._origins[key] = self._decoder.origin(segment, str(followed.path))
        return origin


def _merged(streams: Sequence[Sequence[Event]]) -> list[Event]:
    """Return the events of streams by time, each in its own order."""
    return list(heapq.merge(*streams, key=attrgetter("time_unix_nano")))
