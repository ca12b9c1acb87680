"""The heartbeat: a slow epoch and a dead trainer look different in the record."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

import pytest

import esper_telemetry as et
from esper_telemetry.recorder import housekeeping
from esper_telemetry.recorder.housekeeping import Heartbeat, signs_of_life
from esper_telemetry.testing import memory_run, recorded


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands: [seconds]."""
    now = [100.0]
    monkeypatch.setattr(housekeeping.time, "monotonic", lambda: now[0])
    return now


def test_it_is_due_after_ten_seconds_of_silence_and_every_ten_seconds_then(clock):
    beat, due = Heartbeat(), []
    for _ in range(35):
        clock[0] += 1.0
        due.append(beat.due(1))
    assert [(at, idle) for at, idle in enumerate(due, 1) if idle is not None] == [(11, 10.0), (21, 20.0), (31, 30.0)]


def test_an_event_of_the_program_ends_the_silence(clock):
    beat = Heartbeat()
    for offered in range(100):
        clock[0] += 9.0
        assert beat.due(offered) is None
    clock[0] += 9.0
    assert beat.due(99) is None
    clock[0] += 9.0
    assert beat.due(100) is None
    clock[0] += 10.0
    assert beat.due(100) == 10.0


def heartbeats(sink):
    return [event.data for event in recorded(sink) if event.name == "run.heartbeat"]


def wait_for(run, name, count):
    while run.stats().recorded.get(name, 0) < count:
        time.sleep(0.01)


def quick(**options):
    run, sink = memory_run(record=et.RecordOptions(flush_interval=0.01, **options))
    run._core.housekeeping.heartbeat.interval = 0.02
    return run, sink


def test_silence_is_recorded_with_where_the_main_thread_is():
    run, sink = quick()
    wait_for(run, "run.heartbeat", 2)
    run.close()
    first, second, *_ = heartbeats(sink)
    assert first["idle_s"] < second["idle_s"]
    assert first["main_thread_alive"]
    assert first["main_thread_cpu_s"] <= second["main_thread_cpu_s"]
    assert ".py:" in first["main_thread_at"]


def test_samples_of_the_system_break_no_silence():
    run, sink = quick(system_interval=0.005)
    wait_for(run, "run.heartbeat", 2)
    run.close()
    first, second, *_ = heartbeats(sink)
    assert 0.02 <= first["idle_s"] < second["idle_s"]


def test_a_run_that_is_off_or_records_its_lifecycle_only_stays_quiet():
    for level in ("off", "lifecycle"):
        run, sink = memory_run(level=level, record=et.RecordOptions(flush_interval=0.01))
        run._core.housekeeping.heartbeat.interval = 0.0
        for _ in range(10):
            run.flush()
        run.close()
        assert not heartbeats(sink)


def test_nothing_follows_the_last_event():
    run, sink = quick()
    run._core.housekeeping.heartbeat.interval = 0.0
    run.flush()
    run.close()
    assert recorded(sink)[-1].name == "run.finished"
    assert run.stats().dropped == 0


def test_a_main_thread_that_sleeps_and_one_that_works_look_different():
    before = signs_of_life()["main_thread_cpu_s"]
    time.sleep(0.2)
    slept = signs_of_life()["main_thread_cpu_s"] - before
    until = time.thread_time() + 0.2
    while time.thread_time() < until:
        pass
    worked = signs_of_life()["main_thread_cpu_s"] - before - slept
    assert worked > 2 * slept


def test_a_main_thread_that_has_ended_is_said_to_have_ended(tmp_path):
    program = textwrap.dedent("""
        import sys, threading, time, esper_telemetry as et
        run = et.start_run(sys.argv[1], name="ended", run_id="ended", record=et.RecordOptions(flush_interval=0.01))
        run._core.housekeeping.heartbeat.interval = 0.02

        def outlive():
            threading.main_thread().join()
            count = run.stats().recorded.get("run.heartbeat", 0)
            while run.stats().recorded.get("run.heartbeat", 0) < count + 3:
                time.sleep(0.01)
            run.close()

        threading.Thread(target=outlive).start()
    """)
    subprocess.run([sys.executable, "-c", program, tmp_path], check=True, timeout=60)
    last = [event.data for event in et.read(tmp_path / "ended") if event.type == "run.heartbeat"][-1]
    assert last["main_thread_alive"] is False
    assert not {"main_thread_cpu_s", "main_thread_at"} & set(last)
