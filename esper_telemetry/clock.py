"""Wall and monotonic time as an argument, so that tests can hold the clock."""

from __future__ import annotations

import time
from typing import NamedTuple, Protocol


class Clock(Protocol):
    """Source of time."""

    def wall_ns(self) -> int:
        """Return nanoseconds since 1970 UTC; it may step back."""

    def monotonic_ns(self) -> int:
        """Return nanoseconds since an arbitrary moment; it never steps back."""


class Anchor(NamedTuple):
    """One moment by both clocks, in nanoseconds.

    Attributes:
        unix_nano: by the wall clock.
        monotonic_nano: by the monotonic clock.
    """

    unix_nano: int
    monotonic_nano: int

    @property
    def offset(self) -> int:
        """What makes wall time of monotonic time."""
        return self.unix_nano - self.monotonic_nano


class SystemClock:
    """The clocks of the operating system."""

    wall_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.perf_counter_ns)


SYSTEM_CLOCK = SystemClock()
