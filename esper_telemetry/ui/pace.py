"""Replay: the events of a stored run at a chosen speed, as if they came now.

The folds and the page are those of a live run.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from esper_telemetry.ui.origin import Phase, Portion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from esper_telemetry.decode import Event, Filter, Reference
    from esper_telemetry.ui.origin import EventOrigin

_NANOS = 1_000_000_000
# A portion holds what is due within so long: finer is not seen.
_STEP_S = 0.1
# A stretch in which nothing was recorded is not waited for longer than this, whatever the speed.
_LONGEST_QUIET_S = 2.0
FASTEST = 1e6


class Pace:
    """How fast a replay goes; a viewer changes it while it runs. Any thread may call it.

    Args:
        speed: seconds of the run in a second.
    """

    def __init__(self, speed: float = 10.0) -> None:
        self._changed = threading.Condition()
        self._speed = speed
        self._paused = False
        self._until_ns = 0
        self._now_ns = 0

    def set(self, *, speed: float | None = None, paused: bool | None = None, until_ns: int | None = None) -> None:
        """Change the pace.

        Args:
            speed: seconds of the run in a second.
            paused: stand still, or go on.
            until_ns: give everything before this time at once; nanoseconds since 1970 UTC.

        Raises:
            ValueError: the speed is not above 0, or over FASTEST.
        """
        if speed is not None and not 0 < speed <= FASTEST:
            raise ValueError(f"a replay cannot run at speed {speed}; give a number above 0, up to {FASTEST:,.0f}")
        with self._changed:
            self._speed = speed if speed is not None else self._speed
            self._paused = paused if paused is not None else self._paused
            self._until_ns = until_ns if until_ns is not None else self._until_ns
            self._changed.notify_all()

    def state(self) -> dict[str, float | bool]:
        """Return the pace, as values for JSON."""
        with self._changed:
            return {"speed": self._speed, "paused": self._paused, "at_ms": self._now_ns / 1e6}

    def wake(self) -> None:
        """End a wait soon."""
        with self._changed:
            self._changed.notify_all()

    def rest(self) -> None:
        """Wait a while, or for a change."""
        with self._changed:
            self._changed.wait(1.0)

    def wait_for(self, time_ns: int, stop: Callable[[], bool]) -> None:
        """Wait until an event of this time is due, as the pace is while it waits."""
        if not self._now_ns:
            self._now_ns = time_ns
        quiet = 0.0
        with self._changed:
            while not stop() and self._now_ns < time_ns and time_ns >= self._until_ns and quiet < _LONGEST_QUIET_S:
                if self._paused:
                    self._changed.wait(1.0)
                    continue
                left = (time_ns - self._now_ns) / _NANOS / self._speed
                before = time.monotonic()
                self._changed.wait(min(left, _STEP_S))
                passed = time.monotonic() - before
                quiet += passed
                self._now_ns = min(time_ns, self._now_ns + int(passed * self._speed * _NANOS))
            self._now_ns = max(self._now_ns, time_ns)


class PacedOrigin:
    """A stored run as an origin whose events come at a pace.

    Args:
        origin: the run.
        pace: how fast.
    """

    def __init__(self, origin: EventOrigin, pace: Pace) -> None:
        self._origin = origin
        self.pace = pace

    @property
    def name(self) -> str:
        """The run, for errors."""
        return f"replay of {self._origin.name}"

    def portions(self, stop: Callable[[], bool]) -> Iterator[Portion]:
        """Yield the events that are stored, each when it is due; then nothing until `stop` is true.

        Raises:
            RecordError: the run cannot be read.
            OSError: likewise.
        """
        for portion in self._origin.portions(stop):
            for events in _together(portion.events):
                self.pace.wait_for(events[0].time_unix_nano, stop)
                if stop():
                    return
                yield Portion(events, Phase.LIVE, portion.stored, portion.warnings, portion.unknown, portion.missing)
            if portion.phase is not Phase.HISTORY:
                yield Portion((), Phase.ENDED, portion.stored, portion.warnings, portion.unknown, portion.missing)
                break
        while not stop():
            self.pace.rest()

    def wake(self) -> None:
        """End a wait soon."""
        self._origin.wake()
        self.pace.wake()

    def last(self, wanted: Filter, count: int) -> list[Event]:
        """Return the last events of the run that are wanted."""
        return self._origin.last(wanted, count)

    def reference(self) -> Reference:
        """Return what the types of the run mean."""
        return self._origin.reference()


def _together(events: Sequence[Event]) -> Iterator[list[Event]]:
    """Yield events in portions that one step of the slowest useful speed would not part."""
    portion: list[Event] = []
    for event in events:
        if portion and event.time_unix_nano - portion[0].time_unix_nano > _STEP_S * _NANOS:
            yield portion
            portion = []
        portion.append(event)
    if portion:
        yield portion
