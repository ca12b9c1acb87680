"""The last events of a run in memory, numbered as they came, for the feed of a page: bounded by count and by bytes."""

from __future__ import annotations

from collections import Counter, deque
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from esper_telemetry.decode import Event

_MOST = 5000
_MOST_BYTES = 16 << 20
# Events that one question looks at: what is rare is looked for in the record, not here.
_LOOKED_AT = 5000


class RecentEvents(NamedTuple):
    """An answer to "what came after number n".

    Attributes:
        events: number and event, in order; the last ones where there were more than asked for.
        upto: number of the last event that was looked at: what to ask after next.
        left: events between that left the memory before they were asked for: read them from the record.
    """

    events: list[tuple[int, Event]]
    upto: int
    left: int


class Recent:
    """The last events, from number 1. Not safe for threads: its owner holds a lock.

    Attributes:
        count: events that came so far.
        types: how many came of each type.
    """

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._bytes = 0
        self.count = 0
        self.types: Counter[str] = Counter()

    def extend(self, events: Iterable[Event]) -> None:
        """Add events that came."""
        for event in events:
            self._events.append(event)
            self._bytes += event.size
            self.count += 1
            self.types[event.type] += 1
            while len(self._events) > _MOST or (self._bytes > _MOST_BYTES and len(self._events) > 1):
                self._bytes -= self._events.popleft().size

    def after(self, number: int, wanted: Callable[[Event], bool], most: int) -> RecentEvents:
        """Return the wanted events after a number, the last `most` of them.

        Args:
            number: of the last event that is known already; 0 for none.
            wanted: tells whether an event is.
            most: events to return.
        """
        first = self.count - len(self._events)  # number of the last event that left
        left = max(0, first - number) if number else 0
        start = max(number, first, self.count - _LOOKED_AT)
        events = list(islice(self._events, start - first, None))
        found = [(start + at, event) for at, event in enumerate(events, 1) if wanted(event)]
        return RecentEvents(found[-most:] if most else [], self.count, left)
