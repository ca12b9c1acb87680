"""The clock of the operating system, in nanoseconds."""

from __future__ import annotations

import itertools
import time

from esper_telemetry.clock import SYSTEM_CLOCK, Anchor, Clock, SystemClock


def test_wall_time_is_nanoseconds_since_1970():
    before = time.time_ns()
    assert before <= SYSTEM_CLOCK.wall_ns() <= time.time_ns()


def test_monotonic_time_never_steps_back():
    times = [SYSTEM_CLOCK.monotonic_ns() for _ in range(1000)]
    assert all(early <= late for early, late in itertools.pairwise(times))
    assert all(isinstance(one, int) for one in times)


def test_any_object_with_the_two_methods_is_a_clock():
    class Held:
        def wall_ns(self) -> int:
            return 5

        def monotonic_ns(self) -> int:
            return 6

    def read(clock: Clock) -> tuple[int, int]:
        return clock.wall_ns(), clock.monotonic_ns()

    assert read(Held()) == (5, 6)
    assert read(SystemClock())[0] > 0


def test_an_anchor_makes_wall_time_of_monotonic_time():
    anchor = Anchor(unix_nano=1_000, monotonic_nano=10)
    assert anchor.offset + 15 == 1_005
