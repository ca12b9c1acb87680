"""Wall and monotonic time as an argument, so that tests can hold the clock."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Source of time."""

    def wall_ns(self) -> int:
        """Return nanoseconds since 1970 UTC; it may step back."""

    def monotonic_ns(self) -> int:
        """Return nanoseconds since an arbitrary moment; it never steps back."""


class SystemClock:
    """The clocks of the operating system."""

    wall_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.perf_counter_ns)


SYSTEM_CLOCK = SystemClock()
