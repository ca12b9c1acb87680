"""From monotonic time to the time of an event: the wall clock's, without ever stepping back.

A wall clock may be set, and a monotonic clock does not advance while the machine sleeps, so neither is trusted alone
for long: `check` holds one against the other, and takes a new anchor when they have parted. Times follow a step
forward at once. After a step back they go on at half their speed until the wall clock has caught up, so
that order and, but for a known factor, durations are kept. ClockWatch reports each new anchor in the log and as an
event. Used by the writer thread only. The clock may be the program's own: whatever it raises stops no event.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.clock import Anchor
from esper_telemetry.v1 import run_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esper_telemetry.clock import Clock

_log = logging.getLogger("esper_telemetry")

_SECOND = 1_000_000_000
_APART = _SECOND
# Two clocks are not read at once. What came between them, on a machine that is busy, is no difference of theirs.
_ONE_MOMENT = 100_000_000
# A wall clock that jumps about would cost a segment each time: beyond the first few it may do so once a minute.
_FREELY, _PAUSE = 8, 60_000_000_000


class ClockStep(NamedTuple):
    """The two clocks were found apart.

    Attributes:
        expected: the moment by the anchor before.
        actual: the same moment by the clocks: the new anchor.
        catch_up_ns: for so long times go on at half their speed.
    """

    expected: Anchor
    actual: Anchor
    catch_up_ns: int

    @property
    def difference_ns(self) -> int:
        """How far the wall clock is ahead of what it should have been."""
        return self.actual.unix_nano - self.expected.unix_nano


class _Stretch(NamedTuple):
    """How times are reckoned from a moment on.

    Attributes:
        since: monotonic time of the moment.
        offset: what makes wall time of monotonic time.
        slow_until: monotonic time until which times go on at half their speed.
        floor: the latest time before it.
    """

    since: int
    offset: int
    slow_until: int
    floor: int

    def unix_nano(self, monotonic_nano: int) -> int:
        plain = monotonic_nano + self.offset
        if monotonic_nano >= self.slow_until:
            return plain
        return max(plain, self.floor + max(0, monotonic_nano - self.since) // 2)


class Timeline:
    """The times of one stream.

    Args:
        clock: source of time.

    Attributes:
        anchor: the moment that times are reckoned from.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.anchor = Anchor(clock.wall_ns(), clock.monotonic_ns())
        self._partings = 0
        since = self.anchor.monotonic_nano
        self._now = self._before = _Stretch(since, self.anchor.offset, slow_until=since, floor=0)

    def is_plain(self, monotonic_nano: int) -> bool:
        """Tell whether times from `monotonic_nano` on are the anchor's offset more, and nothing else."""
        return monotonic_nano >= self._now.slow_until

    def unix_nano(self, monotonic_nano: int) -> int:
        """Return the time of an event that was emitted at `monotonic_nano`, before or after the last parting."""
        return (self._now if monotonic_nano >= self._now.since else self._before).unix_nano(monotonic_nano)

    def slowed(self, monotonic_nano: Iterable[int]) -> list[int]:
        """Return monotonic times that give, the anchor's offset added, what `unix_nano` returns for them."""
        offset = self.anchor.offset
        return [self.unix_nano(moment) - offset for moment in monotonic_nano]

    def check(self) -> ClockStep | None:
        """Take a new anchor if the clocks have parted by more than a second; what was emitted before keeps its time."""
        before, wall, after = self._clock.monotonic_ns(), self._clock.wall_ns(), self._clock.monotonic_ns()
        expected = Anchor(after + self.anchor.offset, after)
        if abs(wall - expected.unix_nano) <= _APART or after - before > _ONE_MOMENT or self._too_often(after):
            return None
        self._partings += 1
        latest = self.unix_nano(after)
        catch_up = 2 * max(0, latest - wall)
        self.anchor = Anchor(wall, after)
        self._before, self._now = self._now, _Stretch(after, self.anchor.offset, after + catch_up, latest)
        return ClockStep(expected, self.anchor, catch_up)

    def _too_often(self, monotonic_nano: int) -> bool:
        return self._partings >= _FREELY and monotonic_nano - self.anchor.monotonic_nano < _PAUSE


class ClockWatch:
    """Looks at the clocks, in every cycle of the writer thread."""

    def __init__(self) -> None:
        """Begin with nothing reported."""
        self._reported = False

    def look(self, timeline: Timeline) -> run_pb2.ClockReanchored | None:
        """Let `timeline` take a new anchor if its clocks have parted; return the event that reports it."""
        try:
            parting = timeline.check()
        except Exception as error:  # noqa: BLE001 - the clock is the program's
            if not self._reported:
                self._reported = True
                _log.warning("the clock of the run cannot be read (reported once): %r", error)
            return None
        if parting is None:
            return None
        _log.warning("%s", _in_words(parting))
        return run_pb2.ClockReanchored(
            difference_s=parting.difference_ns / _SECOND,
            expected_unix_nano=parting.expected.unix_nano,
            actual_unix_nano=parting.actual.unix_nano,
            catch_up_s=parting.catch_up_ns / _SECOND,
        )


def _in_words(parting: ClockStep) -> str:
    seconds = parting.difference_ns / _SECOND
    if seconds > 0:
        return f"the wall clock is {seconds:.1f} s ahead of the monotonic one (a sleep?); times of events follow it"
    return (
        f"the wall clock was set back by {-seconds:.1f} s; times of events do not step back and go on at half their"
        f" speed for {parting.catch_up_ns / _SECOND:.1f} s"
    )
