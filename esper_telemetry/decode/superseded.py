"""What earlier attempts at a run did that a later one did again: superseded, and left out where the latest is wanted.

A resume states where it goes on: {"step": 500}. What an earlier attempt of the same rank emitted after its last event
below that is superseded, whether or not an event states where in the run it happened. To find that last event a stream
is read from its end, frame by frame, and no further than needed. Events are not judged by their times.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.decode.event_filter import Filter
from esper_telemetry.decode.faults import Faults
from esper_telemetry.decode.landmarks import Landmarks
from esper_telemetry.decode.segments import SegmentDecoder
from esper_telemetry.decode.streams import OpenReaders, by_stream, parts
from esper_telemetry.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from esper_telemetry.decode.event import Event
    from esper_telemetry.decode.streams import SegmentPlace

    StreamKey = tuple[str, int, bytes]
    Coordinates = Mapping[str, int]

_FROM = "from_"
_PREFIXED = tuple(f"{_FROM}{name}" for name in ("step", "batch_idx", "global_epoch", "episode"))
NOTHING = (0, 0)
"""Before the first event of a stream."""


class Superseded(NamedTuple):
    """What of a record was done again.

    Attributes:
        last_kept: by stream, where its last event is that was not; streams that are kept whole are not here.
        warnings: what could not be found out, one sentence each.
        notes: what is left out, one sentence each.
    """

    last_kept: dict[StreamKey, tuple[int, int]]
    warnings: list[str]
    notes: list[str]


class _Resume(NamedTuple):
    """Where one attempt of one rank went on."""

    attempt: int
    rank: int
    start: Coordinates


def attempts_of(places: Sequence[SegmentPlace]) -> dict[str, list[int]]:
    """Return the attempts that are there, by run id."""
    found: defaultdict[str, set[int]] = defaultdict(set)
    for place in places:
        found[place.header.run_id].add(place.attempt)
    return {run_id: sorted(attempts) for run_id, attempts in found.items()}


def several_attempts(places: Sequence[SegmentPlace]) -> list[str]:
    """Return a sentence for each run of which there are several attempts."""
    return [
        f"run {run_id} holds {len(attempts)} attempts: what was done again after a resume is there twice; leave it"
        " out with latest=True or --latest"
        for run_id, attempts in attempts_of(places).items()
        if len(attempts) > 1
    ]


def superseded(places: Sequence[SegmentPlace]) -> Superseded:
    """Return what of the streams in `places` was done again; it reads as much of them as that takes."""
    found = Superseded({}, [], [])
    runs: defaultdict[str, list[list[SegmentPlace]]] = defaultdict(list)
    for stream in by_stream(places):
        runs[stream[0].header.run_id].append(stream)
    for run_id, streams in runs.items():
        if len({stream[0].attempt for stream in streams}) > 1:
            _look_into_run(run_id, streams, found)
    return found


def _look_into_run(run_id: str, streams: Sequence[Sequence[SegmentPlace]], found: Superseded) -> None:
    resumes = [resume for stream in streams if (resume := _resume(stream)) is not None]
    for attempt in sorted({each.attempt for each in resumes} - {each.attempt for each in resumes if each.start}):
        found.warnings.append(
            f"run {run_id}: attempt {attempt} does not state where it went on (resumed_from), so what it did again is"
            " not left out of those before it"
        )
    for stream in streams:
        for resume in _later(stream[0], resumes):
            kept = _last_below(stream, resume.start)
            place = f"run {run_id}, rank {stream[0].header.rank}, attempt {stream[0].attempt}"
            goal = ", ".join(f"{name} {value:,}" for name, value in resume.start.items())
            if kept is None:
                is_child = bool(stream[0].header.parent_producer_id)  # it may have had nothing to do with steps
                text = f"{place}: no event tells its {' or '.join(resume.start)}; nothing is left out"
                (found.notes if is_child else found.warnings).append(text)
                continue
            key = stream[0].stream_key
            found.last_kept[key] = min(kept, found.last_kept.get(key, kept))
            found.notes.append(f"{place}: left out after sequence number {kept[0]:,}, done again from {goal} on")


def _resume(stream: Sequence[SegmentPlace]) -> _Resume | None:
    """Return where a stream went on; None if it belongs to the first attempt."""
    place = stream[0]
    if place.attempt == 1:
        return None
    readers = OpenReaders([place], Faults(strict=False))
    data: dict[str, Any] = {}
    try:
        with contextlib.suppress(RecordError):  # gone meanwhile, or damaged: reading the events tells it
            data = Landmarks(*readers.take(place)).resumed
    finally:
        readers.close()
    start = {name.removeprefix(_FROM): int(data[name]) for name in _PREFIXED if name in data}
    return _Resume(place.attempt, place.header.rank, start)


def _later(place: SegmentPlace, resumes: Sequence[_Resume]) -> Iterator[_Resume]:
    """Yield where later attempts went on, as the same rank states, or else another one."""
    for attempt in sorted({resume.attempt for resume in resumes if resume.attempt > place.attempt}):
        known = [resume for resume in resumes if resume.attempt == attempt and resume.start]
        own = [resume for resume in known if resume.rank == place.header.rank]
        yield from (own or known)[:1]


def _last_below(stream: Sequence[SegmentPlace], start: Coordinates) -> tuple[int, int] | None:
    """Return where the last event below `start` is in a stream; None if no event states where it happened."""
    placed = False
    for event in _backwards(stream):
        values = [event.data[name] for name in start if name in event.data]
        placed |= bool(values)
        if values and all(event.data[name] < value for name, value in start.items() if name in event.data):
            return event.position
    return NOTHING if placed else None


def _backwards(stream: Sequence[SegmentPlace]) -> Iterator[Event]:
    faults = Faults(strict=False)
    readers = OpenReaders(stream, faults)
    decoder = SegmentDecoder(Filter(), faults, expand=True)
    try:
        for part in reversed(parts(stream)):
            with contextlib.suppress(RecordError):  # as above
                for events in decoder.last_events(*readers.take(part[0])):
                    yield from reversed(events)
    finally:
        readers.close()
