"""Reads records back: a file, or a run with all its segments and ranks, as one series of events.

Each stream is given in the order of its numbers, whatever files its segments are in; streams
are merged by time, and memory is bounded by a frame of each stream. Nothing is written, and no loss is silent: what is
damaged is raised (or collected), what is cut off or missing stands in `warnings`.
"""

from __future__ import annotations

import heapq
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from esper_telemetry.decode.faults import Faults, FileDamage
from esper_telemetry.decode.filter import Filter
from esper_telemetry.decode.inputs import record_files
from esper_telemetry.decode.segments import SegmentDecoder
from esper_telemetry.decode.streams import OpenReaders, by_stream, ordered_segments

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from google.protobuf.message import Message

    from esper_telemetry.decode.event import Event
    from esper_telemetry.decode.inputs import RecordPath
    from esper_telemetry.decode.streams import SegmentPlace

    TypeName = str | type[Message]

_NANOS = 1_000_000_000


class Records:
    """The events of one or more record files. Each iteration reads them anew.

    Args:
        segments: what to read, ordered.
        wanted: which events.
        expand: whether a block of steps is given as its rows.
        strict: raise damage instead of passing over it.

    Attributes:
        segments: what is read, in the order of streams and segments.
    """

    def __init__(
        self, segments: Sequence[SegmentPlace], wanted: Filter, *, expand: bool = True, strict: bool = True
    ) -> None:
        self.segments = tuple(segments)
        self._wanted = wanted
        self._expand = expand
        self._faults = Faults(strict=strict)

    def __iter__(self) -> Iterator[Event]:
        self._faults = Faults(strict=self._faults.strict)
        return self._events(SegmentDecoder(self._wanted, self._faults, expand=self._expand))

    @property
    def streams(self) -> int:
        """Streams that the segments belong to: one for each process that wrote."""
        return len(by_stream(self.segments))

    @property
    def events(self) -> int:
        """Events in the segments, wanted or not, as the descriptors say."""
        return sum(place.events for place in self.segments)

    @property
    def warnings(self) -> Sequence[str]:
        """What was found damaged, missing or cut off so far: one sentence each, complete after an iteration."""
        return self._faults.warnings

    @property
    def damage(self) -> Sequence[FileDamage]:
        """Stretches that could not be read so far; empty when reading is strict, as then they are raised."""
        return self._faults.damage

    @property
    def missing(self) -> int:
        """Numbers met so far that were given out and have no event: the writer dropped it."""
        return self._faults.missing

    @property
    def unknown(self) -> Mapping[str, int]:
        """Events met so far that the record does not explain, by the name of their type."""
        return self._faults.unknown

    def _events(self, decoder: SegmentDecoder) -> Iterator[Event]:
        readers = OpenReaders(self.segments, self._faults)
        try:
            streams = [self._stream_events(places, readers, decoder) for places in by_stream(self.segments)]
            yield from streams[0] if len(streams) == 1 else heapq.merge(*streams, key=attrgetter("time_unix_nano"))
        finally:
            readers.close()

    def _stream_events(
        self, places: Sequence[SegmentPlace], readers: OpenReaders, decoder: SegmentDecoder
    ) -> Iterator[Event]:
        for place in places:
            reader = readers.take(place.path)
            yield from decoder.events(reader, reader.segments[place.number])
            readers.give_back(place.path)


def read(
    path: RecordPath | Iterable[RecordPath],
    *,
    types: TypeName | Iterable[TypeName] | None = None,
    envs: Iterable[int] | None = None,
    ranks: Iterable[int] | None = None,
    since: int | datetime | None = None,
    until: int | datetime | None = None,
    first_seq: int | None = None,
    last_seq: int | None = None,
    expand: bool = True,
    strict: bool = True,
) -> Records:
    """Read a record.

        for event in esper_telemetry.read("runs/20261122T223328Z-digits-1f3a9c", types="seed.*"):
            print(event.time_unix_nano, event.type, event.data)

    Args:
        path: a record file, a run folder (all its segments and ranks), a pattern, or several of these.
        types: names of types ("seed.culled", "esper.v1.SeedCulled", "seed.*") or event classes.
        envs: environments; events without an env_id are left out.
        ranks: ranks of the processes.
        since: earliest time, inclusive: nanoseconds since 1970 UTC, or a datetime with a time zone.
        until: latest time, exclusive.
        first_seq: first number, inclusive.
        last_seq: last number, inclusive.
        expand: give a block of steps as its rows, not as the one event it travelled as.
        strict: raise when a part is damaged; otherwise it is passed over and noted in `damage`.

    Returns:
        The events, to be iterated over; `warnings` says what is cut off or missing.

    Raises:
        RecordError: a file is no record or cannot be opened.
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
    )
    return Records(ordered_segments(record_files(path)), wanted, expand=expand, strict=strict)


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
