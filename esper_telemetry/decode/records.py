"""Reads records back: a file, or a run with all its segments and ranks, as one series of events.

Each stream is given in the order of its sequence numbers, whatever files its segments are in, and each event once;
streams are merged by time. Frames that damage moved inside a file are given where they are, with a warning. Memory is
bounded by a frame of each stream at the present time, and files are opened when they are due. Nothing is written, and
no loss is silent: what is damaged is raised (or collected), what is cut off or missing is in `warnings`.
"""

from __future__ import annotations

import heapq
from datetime import datetime
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.decode.event_filter import Filter
from esper_telemetry.decode.faults import FaultReport, Faults
from esper_telemetry.decode.landmarks import Landmarks
from esper_telemetry.decode.losses import StreamLosses
from esper_telemetry.decode.segments import SegmentDecoder
from esper_telemetry.decode.streams import OpenReaders, by_stream, parts
from esper_telemetry.decode.superseded import several_attempts, superseded
from esper_telemetry.decode.survey import survey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from google.protobuf.message import Message

    from esper_telemetry.decode.event import Event
    from esper_telemetry.decode.inputs import RecordFiles, RecordPath
    from esper_telemetry.decode.streams import SegmentPlace
    from esper_telemetry.decode.survey import Survey
    from esper_telemetry.decode.tallies import Tallies

    TypeName = str | type[Message]

_NANOS = 1_000_000_000


class Records(FaultReport):
    """The events of one or more record files. Each iteration reads them anew.

    Args:
        found: what to read.
        wanted: which events.
        expand: whether a block of steps is given as its rows.
        strict: raise damage instead of passing over it.
        latest: leave out what a later attempt at the run did again.

    Attributes:
        segments: what is read, in the order of streams and segments.
        found: what was surveyed, with the types that it declares.
    """

    def __init__(
        self, found: Survey, wanted: Filter, *, expand: bool = True, strict: bool = True, latest: bool = False
    ) -> None:
        super().__init__(Faults(strict=strict))
        self.segments = found.places
        self.found = found
        self._latest = latest
        self._passed_over = found.warnings
        self._wanted = wanted
        self._expand = expand
        self._start_over(strict=strict)

    def __iter__(self) -> Iterator[Event]:
        self._start_over(strict=self._faults.strict)
        return self._events(SegmentDecoder(self._wanted, self._faults, expand=self._expand))

    def beside(self, tallies: Tallies) -> Iterator[Event]:
        """Read anew: count whole frames in `tallies`, and yield the wanted events that are not counted there."""
        self._start_over(strict=self._faults.strict)
        counted = None if self._latest else tallies  # what a later attempt did again is left out event by event
        return self._events(SegmentDecoder(self._wanted, self._faults, expand=self._expand, tallies=counted))

    @property
    def streams(self) -> int:
        """Streams that the segments belong to: one for each process that wrote."""
        return len(by_stream(self.segments))

    @property
    def events(self) -> int:
        """Events in the segments, wanted or not, as the descriptors state."""
        return sum(place.events for place in self.segments)

    @property
    def marked(self) -> int:
        """Those of `missing` whose loss a file accounts for: damage that is reported, and ranges marked as lost."""
        return self._faults.marked

    @property
    def losses(self) -> Sequence[tuple[str, str]]:
        """File and sentence for the gaps of the streams read so far; in `warnings` too."""
        return self._faults.losses

    @property
    def open_ends(self) -> Sequence[str]:
        """A sentence for each stream read so far whose writer is gone without an end; in `warnings` too."""
        return self._faults.open_ends

    @property
    def unknown(self) -> Mapping[str, int]:
        """Events met so far that the record does not explain, by the name of their type."""
        return self._faults.unknown

    def _start_over(self, *, strict: bool) -> None:
        self._faults = Faults(strict=strict)
        self._faults.warnings += self._passed_over
        self._faults.notes += self.found.notes
        if not self._latest:
            self._faults.notes += several_attempts(self.segments)

    def _events(self, decoder: SegmentDecoder) -> Iterator[Event]:
        return chain.from_iterable(self._chunks(decoder))

    def _chunks(self, decoder: SegmentDecoder) -> Iterator[Iterable[Event]]:
        """Yield the events in pieces: one generator less for each event to pass through costs a twentieth less time."""
        kept = self._last_kept() if self._latest else {}
        readers = OpenReaders(self.segments, self._faults)
        try:
            streams = [
                (
                    _earliest(places[0]),
                    partial(self._kept_chunks, kept.get(places[0].stream_key), places, readers, decoder),
                )
                for places in by_stream(self.segments)
            ]
            if len(streams) == 1:  # it needs no merge, which would cost a tenth of the time
                yield from streams[0][1]()
            else:
                yield merge_by_time(TimedStream(first, partial(_joined, chunks)) for first, chunks in streams)
        finally:
            readers.close()

    def _last_kept(self) -> dict[tuple[str, int, bytes], tuple[int, int]]:
        """Return the position of the last event that no later attempt did again, by stream; not of those kept whole."""
        found = superseded(self.segments)
        self._faults.warnings += found.warnings
        self._faults.notes += found.notes
        return found.last_kept

    def _kept_chunks(
        self,
        last: tuple[int, int] | None,
        places: Sequence[SegmentPlace],
        readers: OpenReaders,
        decoder: SegmentDecoder,
    ) -> Iterator[Iterable[Event]]:
        """Yield the events of a stream up to `last`; the rest is read as well, for it tells what is missing."""
        for chunk in self._stream_chunks(places, readers, decoder):
            yield chunk if last is None else (event for event in chunk if event.position <= last)

    def _stream_chunks(
        self, places: Sequence[SegmentPlace], readers: OpenReaders, decoder: SegmentDecoder
    ) -> Iterator[Iterable[Event]]:
        losses = StreamLosses()
        *before, last = parts(places)
        for part in before:
            yield from self._part_chunks(part, readers, decoder, losses, is_last=False)
        yield from self._part_chunks(last, readers, decoder, losses, is_last=True)
        losses.report(self._faults)

    def _part_chunks(
        self,
        part: Sequence[SegmentPlace],
        readers: OpenReaders,
        decoder: SegmentDecoder,
        losses: StreamLosses,
        *,
        is_last: bool,
    ) -> Iterator[Iterable[Event]]:
        """Yield the events of a segment, or of several that hold the same sequence numbers."""
        copies = readers.take_part(part)
        if not copies:
            return
        place, reader, segment = copies[0]
        losses.add(place, Landmarks(reader, segment), [each for _, _, each in copies])
        if len(copies) == 1:
            yield from decoder.chunks(reader, segment)
        else:
            self._faults.copied([str(each.path) for each, _, _ in copies])
            yield decoder.events_once([(each, own) for _, each, own in copies])
        if is_last:
            place, reader, segment = max(copies, key=lambda one: (one[2].last_seq, one[2].closed))
            losses.end(place, Landmarks(reader, segment), reader, segment)
        for each in part:
            readers.give_back(each.path)


def _earliest(place: SegmentPlace) -> int:
    """Return a time before which no event of a stream can be; rows of a block are earlier than the block itself."""
    started = place.header.anchor_unix_nano
    return min(started, place.first_time) if started else place.first_time


def read(
    path: RecordPath | Iterable[RecordPath] | RecordFiles | None,
    *,
    types: TypeName | Iterable[TypeName] | None = None,
    envs: Iterable[int] | None = None,
    ranks: Iterable[int] | None = None,
    since: int | datetime | None = None,
    until: int | datetime | None = None,
    first_seq: int | None = None,
    last_seq: int | None = None,
    batches: tuple[int | None, int | None] | None = None,
    steps: tuple[int | None, int | None] | None = None,
    expand: bool = True,
    strict: bool = True,
    latest: bool = False,
) -> Records:
    """Read a record.

        for event in esper_telemetry.read("runs/20261122T223328Z-digits-1f3a9c", types="seed.*"):
            print(event.time_unix_nano, event.type, event.data)

    Args:
        path: a record file, a run folder (all its segments and ranks), a pattern, or several of these. What is no
            record in a folder is passed over, and is in `warnings`. None, the folder of a run that is
            switched off, holds no event.
        types: names of types ("seed.culled", "esper.v1.SeedCulled", "seed.*") or event classes.
        envs: environments; events without an env_id are left out.
        ranks: ranks of the processes.
        since: earliest time, inclusive: nanoseconds since 1970 UTC, or a datetime with a time zone.
        until: latest time, exclusive.
        first_seq: first sequence number, inclusive.
        last_seq: last sequence number, inclusive.
        batches: first and last batch_idx, both inclusive, None where it is open; events without one are left out.
        steps: first and last step, in the same way.
        expand: give a block of steps as its rows, not as the one event it travelled as.
        strict: raise when a part is damaged; otherwise it is passed over and noted in `damage`.
        latest: of a run that was resumed, leave out what a later attempt did again: what earlier attempts of the same
            rank emitted after their last event below the place that `start_run(resumed_from=...)` named. Where it
            named none, nothing is left out, and `warnings` states it.

    Returns:
        The events, to be iterated over; `warnings` states what is cut off or missing.

    Raises:
        RecordError: nothing of it can be read; of a file named alone, because it is no record.
        ValueError: a datetime has no time zone.
    """
    wanted = Filter(
        types=None if types is None else _type_names(types),
        envs=None if envs is None else frozenset(envs),
        ranks=None if ranks is None else frozenset(ranks),
        since_ns=_unix_nano(since),
        until_ns=_unix_nano(until),
        first_seq=first_seq,
        last_seq=last_seq,
        batches=batches,
        steps=steps,
    )
    return Records(survey(path), wanted, expand=expand, strict=strict, latest=latest)


def _type_names(types: TypeName | Iterable[TypeName]) -> tuple[str, ...]:
    several: Iterable[Any] = [types] if isinstance(types, (str, type)) else types
    return tuple(name if isinstance(name, str) else name.DESCRIPTOR.full_name for name in several)


def _unix_nano(moment: int | datetime | None) -> int | None:
    if not isinstance(moment, datetime):
        return moment
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone; add one, such as datetime.UTC")
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * _NANOS + moment.microsecond * 1000


def _joined(chunks: Callable[[], Iterator[Iterable[Event]]]) -> Iterator[Event]:
    return chain.from_iterable(chunks())


# --- streams by time --------------------------------------------------------------------------------------------------


class TimedStream(NamedTuple):
    """A stream that is not begun.

    Attributes:
        first_time: no event of it is earlier, nanoseconds since 1970 UTC.
        begin: returns its events.
    """

    first_time: int
    begin: Callable[[], Iterator[Event]]


def merge_by_time(streams: Iterable[TimedStream]) -> Iterator[Event]:
    """Yield the events of `streams` by time, each stream in its own order; at the same time, as they were given.

    The order is that of `heapq.merge`, which would begin all streams at once: a stream is a file, and a record may be
    thousands that were written one after the other. Here a stream is begun when its first event may be due.
    """
    waiting = sorted(
        ((stream.first_time, place, stream.begin) for place, stream in enumerate(streams)),
        key=lambda one: one[:2],
        reverse=True,
    )
    heads: list[tuple[int, int, Event, Iterator[Event]]] = []
    while heads or waiting:
        while waiting and (not heads or waiting[-1][0] <= heads[0][0]):
            _, place, begin = waiting.pop()
            events = begin()
            for event in events:
                heapq.heappush(heads, (event.time_unix_nano, place, event, events))
                break
        if not heads:
            continue
        _, place, event, events = heads[0]
        yield event
        if len(heads) == 1 and not waiting:
            yield from events
            return
        following = next(events, None)
        if following is None:
            heapq.heappop(heads)
        else:
            heapq.heapreplace(heads, (following.time_unix_nano, place, following, events))
