"""Merges streams of events by time; a stream is begun when its first event may be due, and not before.

The order is that of `heapq.merge` over all streams, which would begin all of them at once: a stream is a file, and
a record may be thousands that were written one after the other.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from esper_telemetry.decode.event import Event


class TimedStream(NamedTuple):
    """A stream that is not begun.

    Attributes:
        first_time: no event of it is earlier, nanoseconds since 1970 UTC.
        begin: returns its events.
    """

    first_time: int
    begin: Callable[[], Iterator[Event]]


def merge_by_time(streams: Iterable[TimedStream]) -> Iterator[Event]:
    """Yield the events of `streams` by time, each stream in its own order; at the same time, as they were given."""
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
