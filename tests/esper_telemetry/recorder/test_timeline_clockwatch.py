"""The clocks of real runs part: it is on record, and later events have the right time."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import esper_telemetry as et
from esper_telemetry.recordfile import SegmentName, list_run, verify
from esper_telemetry.recordfile.run_folder import first_header
from esper_telemetry.testing import running_collector

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000


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


def test_a_clock_that_cannot_be_read_keeps_no_event_waiting(tmp_path, caplog):
    clock = SteppingClock()
    with et.start_run(tmp_path, name="x", clock=clock) as run:
        run.flush()
        clock.set_by = "broken"
        run.emit(et.events.ScalarLogged, name="a", value=1.0)
        assert run.flush()
        assert run.flush()
    assert [event.type for event in et.read(run.folder)] == ["run.started", "scalar.logged", "run.finished"]
    assert sum("cannot be read (reported once)" in record.message for record in caplog.records) == 1
