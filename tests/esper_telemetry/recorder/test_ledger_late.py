"""Events after the end of a run: dropped, counted, reported once; in a real run, its emitters and its exit hook."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

import esper_telemetry as et
from esper_telemetry import events
from esper_telemetry.recorder.ledger import LateEvents
from esper_telemetry.recorder.notices import settle_notices

LATE = ("esper_telemetry.v1.ScalarLogged", "after_close")


def test_the_first_late_event_of_a_run_is_said_and_all_are_counted(caplog):
    late = LateEvents()
    for name in ("a", "b", "a"):
        late.count(name)
    assert sorted(late.losses.items()) == [(("a", 9), 2), (("b", 9), 1)]
    settle_notices()
    assert [record.getMessage()[:36] for record in caplog.records] == ["a was emitted after its run was clos"]


@pytest.mark.parametrize("bind_late", [False, True])
def test_events_after_close_are_counted_through_every_emitter(tmp_path, caplog, bind_late):
    run = et.start_run(tmp_path, name="x")
    bound = run.bind(env_id=1)
    for _ in range(3):
        bound.emit(events.ScalarLogged, name="in time")
    before = run.stats()
    run.close()
    for emitter in (run, run.bind(env_id=2) if bind_late else bound):
        emitter.emit(events.ScalarLogged, name="late")
        emitter.emit(events.ScalarLogged, name="late", step=2**64)
        emitter.emit(events.ScalarLogged(name="late"))
    stats = run.stats()
    assert stats.drops == {LATE: 6}
    assert stats.dropped == 6
    assert stats.offered == before.offered + 1 + 6
    assert sum(stats.recorded.values()) == stats.offered - stats.dropped
    settle_notices()
    assert caplog.text.count("was emitted after its run was closed") == 1
    assert [event.data["name"] for event in et.read(run.folder, types="scalar.logged")] == ["in time"] * 3


def test_what_the_level_filters_is_not_late(tmp_path):
    run = et.start_run(tmp_path, name="x", level="minimal")
    run.close()
    run.emit(events.ScalarLogged, name="late")
    assert run.stats().dropped == 0


def test_a_record_says_nothing_was_lost_before_its_end(tmp_path):
    with et.start_run(tmp_path, name="x") as run:
        pass
    run.emit(events.ScalarLogged, name="late")
    (finished,) = et.read(run.folder, types="run.finished")
    assert finished.data["dropped"] == 0


def test_threads_that_emit_while_the_run_is_closed_lose_nothing_uncounted(tmp_path):
    run = et.start_run(tmp_path, name="x")
    counts = []

    def emit():
        bound = run.bind(env_id=1)
        for number in range(3000):
            bound.emit(events.ScalarLogged, name="x", step=number)
        counts.append(3000)

    threads = [threading.Thread(target=emit) for _ in range(4)]
    for thread in threads:
        thread.start()
    run.close()
    for thread in threads:
        thread.join()
    kept = sum(1 for _ in et.read(run.folder, types="scalar.logged"))
    assert kept + run.stats().dropped == sum(counts)


def test_a_run_closed_by_the_exit_hook_takes_no_more(tmp_path):
    program = """
import atexit, sys
import esper_telemetry as et
def last():  # registered first, so it comes after the run's own hook
    run.emit(et.events.ScalarLogged, name="late")
    print(run.stats().drops)
atexit.register(last)
run = et.start_run(sys.argv[1], name="x")
"""
    finished = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True, timeout=60
    )
    assert finished.stdout.strip() == str({LATE: 1})
    assert finished.stderr.count("was emitted after its run was closed") == 1
