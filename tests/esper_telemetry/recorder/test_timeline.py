"""Times follow the wall clock, and never step back."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import esper_telemetry as et
from esper_telemetry.recorder.timeline import Timeline
from esper_telemetry.recordfile import SegmentName, list_run, verify
from esper_telemetry.recordfile.streams import first_header
from esper_telemetry.testing import FakeClock, running_collector

if TYPE_CHECKING:
    from pathlib import Path

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


class SteppingClock:
    """The clocks of this machine, with a wall clock that can be set."""

    def __init__(self) -> None:
        self.set_by = 0

    def wall_ns(self) -> int:
        return time.time_ns() + self.set_by

    monotonic_ns = staticmethod(time.perf_counter_ns)


def record_steps(folder, *steps: int) -> Path:
    """Record a run whose wall clock is set by so many seconds between events, one after the other."""
    clock = SteppingClock()
    options = et.RecordOptions(flush_interval=0.02)
    with et.start_run(folder, name="x", clock=clock, record=options) as run:
        for number, step in enumerate([0, *steps]):
            clock.set_by += step * SECOND
            run.flush()  # a look at the clocks
            run.flush()  # what is said of them
            run.emit(et.events.ScalarLogged, name="a", value=1.0, step=number)
    return run.folder


def test_a_sleep_is_on_record_and_later_events_have_the_time_after_it(tmp_path):
    folder = record_steps(tmp_path, 8 * 3600)
    reanchored = next(iter(et.read(folder, types="telemetry.clock_reanchored")))
    assert reanchored.data["difference_s"] == pytest.approx(8 * 3600, abs=1)
    assert reanchored.data["catch_up_s"] == 0
    before, after = et.read(folder, types="scalar.logged")
    assert after.time_unix_nano - before.time_unix_nano > 8 * 3600 * SECOND
    gap = reanchored.data["actual_unix_nano"] - reanchored.data["expected_unix_nano"]
    assert gap / SECOND == pytest.approx(8 * 3600, abs=1)


def test_each_segment_has_the_anchor_of_its_times(tmp_path):
    folder = record_steps(tmp_path, 3600, 60)
    headers = [first_header(path) for path in list_run(folder)]
    assert [header.segment for header in headers] == [1, 2, 3]
    offsets = [header.anchor_unix_nano - header.anchor_monotonic_nano for header in headers]
    steps = [(after - before) / SECOND for before, after in itertools.pairwise(offsets)]
    assert steps == pytest.approx([3600, 60], abs=1)
    names = {SegmentName.parse(path).started for path in list_run(folder)}
    assert len(names) == 1, "the start of the stream, in the name of each segment"
    assert all(verify(path).good for path in list_run(folder))
    assert not et.read(folder).warnings


def test_a_clock_that_is_set_back_is_on_record_and_turns_no_time_around(tmp_path):
    folder = record_steps(tmp_path, -3600, -5)
    events = list(et.read(folder))
    times = [event.time_unix_nano for event in events]
    assert times == sorted(times)
    said = [event.data for event in events if event.type == "telemetry.clock_reanchored"]
    assert [one["difference_s"] for one in said] == pytest.approx([-3600, -5], abs=1)
    assert said[0]["catch_up_s"] == pytest.approx(7200, abs=2)
    scalars = [event.time_unix_nano for event in events if event.type == "scalar.logged"]
    assert len(set(scalars)) == 3, "not frozen"


def test_a_run_that_is_switched_off_by_its_level_says_nothing_of_clocks(tmp_path):
    clock = SteppingClock()
    with et.start_run(tmp_path, name="x", clock=clock, level="off") as run:
        clock.set_by = 100 * SECOND
        run.flush()
        run.flush()
    assert [event.type for event in et.read(run.folder)] == ["run.started", "telemetry.disabled", "run.finished"]


def test_the_collector_takes_a_stream_whose_clock_was_set(tmp_path):
    pytest.importorskip("prometheus_client")
    with running_collector(tmp_path / "collected") as address:
        folder = record_steps(tmp_path, 3600, -60)
        push = [sys.executable, "-m", "esper_telemetry", "push", folder, address]
        subprocess.run(push, check=True, timeout=60, capture_output=True)
    sent = [(event.seq, event.time_unix_nano) for event in et.read(tmp_path / "collected" / folder.name)]
    assert sent == [(event.seq, event.time_unix_nano) for event in et.read(folder)]
