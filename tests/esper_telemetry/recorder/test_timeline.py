"""Times follow the wall clock, and never step back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.recorder.timeline import Timeline
from esper_telemetry.testing import FakeClock

SECOND = 1_000_000_000


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def timeline(clock) -> Timeline:
    return Timeline(clock)


def now(timeline: Timeline, clock: FakeClock) -> int:
    return timeline.unix_nano(clock.monotonic_ns())


def test_times_are_the_wall_clocks_while_the_clocks_agree(timeline, clock):
    clock.advance(3600)
    clock.wall += SECOND  # what a slow drift may make of it
    assert timeline.check() is None
    assert now(timeline, clock) == clock.wall - SECOND


def test_a_sleep_of_the_machine_is_followed_at_once(timeline, clock):
    clock.advance(10)
    clock.wall += 8 * 3600 * SECOND
    parting = timeline.check()
    assert (parting.difference_ns, parting.catch_up_ns) == (8 * 3600 * SECOND, 0)
    assert parting.actual == timeline.anchor == (clock.wall, clock.monotonic)
    assert now(timeline, clock) == clock.wall
    assert timeline.is_plain(clock.monotonic)
    assert timeline.check() is None


def test_after_a_step_back_times_go_on_at_half_speed_until_the_clock_has_caught_up(timeline, clock):
    clock.advance(10)
    before = now(timeline, clock)
    clock.wall -= 3600 * SECOND
    parting = timeline.check()
    assert (parting.difference_ns, parting.catch_up_ns) == (-3600 * SECOND, 7200 * SECOND)
    assert now(timeline, clock) == before
    clock.advance(100)
    assert now(timeline, clock) == before + 50 * SECOND, "not frozen"
    clock.advance(7100)
    assert now(timeline, clock) == clock.wall
    assert timeline.is_plain(clock.monotonic)
    clock.advance(5)
    assert now(timeline, clock) == clock.wall


def test_what_was_emitted_before_the_clocks_were_looked_at_keeps_its_time(timeline, clock):
    clock.advance(10)
    emitted, then = clock.monotonic, clock.wall
    clock.advance(0.5)
    clock.wall += 3600 * SECOND
    timeline.check()
    assert timeline.unix_nano(emitted) == then
    assert not timeline.is_plain(emitted)


def test_a_second_step_back_while_the_first_is_caught_up(timeline, clock):
    clock.wall -= 10 * SECOND
    timeline.check()
    clock.advance(4)
    before = now(timeline, clock)
    clock.wall -= 10 * SECOND
    assert timeline.check().catch_up_ns == 2 * 18 * SECOND
    assert now(timeline, clock) == before


def test_a_step_forward_ends_the_catching_up(timeline, clock):
    clock.wall -= 10 * SECOND
    timeline.check()
    clock.wall += 30 * SECOND
    assert timeline.check().catch_up_ns == 0
    assert now(timeline, clock) == clock.wall


def test_a_pause_between_two_readings_is_no_difference(clock):
    timeline = Timeline(clock)

    def interrupted() -> int:
        clock.advance(5)
        return clock.wall

    clock.wall_ns = interrupted
    assert timeline.check() is None


def test_a_clock_that_jumps_about_is_followed_once_a_minute_in_the_end(timeline, clock):
    followed = 0
    for _ in range(600):
        clock.advance(1)
        clock.wall += 2 * SECOND
        followed += timeline.check() is not None
    assert followed == 8 + 9
    assert timeline.anchor.unix_nano <= clock.wall


def test_slowed_times_and_an_offset_make_the_same(timeline, clock):
    clock.wall -= 20 * SECOND
    timeline.check()
    moments = [clock.monotonic + number * SECOND for number in range(-1, 60)]
    made = [moment + timeline.anchor.offset for moment in timeline.slowed(moments)]
    assert made == [timeline.unix_nano(moment) for moment in moments]


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(-100, 100)), max_size=30))
def test_times_never_step_back_and_never_stop_whatever_the_clocks_do(steps):
    clock = FakeClock()
    timeline = Timeline(clock)
    last = now(timeline, clock)
    for passed, step in steps:
        clock.advance(passed / 10)
        clock.wall += step * SECOND // 10
        timeline.check()
        moment = now(timeline, clock)
        assert moment - last >= passed * SECOND // 20 - 1  # halves of nanoseconds
        last = moment
