"""Forks at bad moments: while other threads are inside the recorder, and while a child opens its stream."""

import logging
import os
import signal
import threading

import pytest

import esper_telemetry as et
from esper_telemetry import events
from esper_telemetry.recorder.runfiles import child_sink
from tests.esper_telemetry.recorder.childstreams import steps, streams

FAST = et.RecordOptions(flush_interval=0.05)


def test_locks_that_other_threads_hold_at_the_fork_hang_nothing_in_the_child(tmp_path, in_child):
    with et.start_run(tmp_path, name="x", record=FAST) as run:
        stop = threading.Event()

        def busy():
            while not stop.is_set():
                run.bind(step=1).emit(events.ScalarLogged, name="parent")
                run.set_level("debug")
                run.set_level("normal")
                run.stats()

        threads = [threading.Thread(target=busy) for _ in range(3)]
        for thread in threads:
            thread.start()

        def act():
            signal.alarm(20)
            run.stats()
            run.bind(step=2).emit(events.ScalarLogged, name="child")
            run.emit(dict)
            run.set_level("minimal")
            assert run.flush(10)
            run.close()

        for _ in range(40):
            in_child(act)
        stop.set()
        for thread in threads:
            thread.join()
    own, *children = streams(run)
    assert len(children) == 40
    assert all(sum(data.get("name") == "child" for _, data in child) == 1 for child in children)
    assert not any(data.get("name") == "parent" for child in children for _, data in child)
    assert own[-1][1]["dropped"] == 0


def test_a_child_that_can_start_no_thread_goes_on_and_is_told(tmp_path, in_child, caplog):
    caplog.set_level(logging.WARNING)
    with et.start_run(tmp_path, name="x") as run:

        def act():
            threading.stack_size(1 << 46)  # no system has so much
            run.emit(events.ScalarLogged, name="child")
            run.emit(events.ScalarLogged, name="child")
            assert not run.flush()
            run.close()
            assert run.stats().dropped >= 2
            assert any("are not recorded" in record.getMessage() for record in caplog.records)

        in_child(act)
    assert len(streams(run)) == 1


def test_a_signal_handler_that_emits_while_the_stream_opens_opens_no_second_one(tmp_path, in_child, mocker):
    with et.start_run(tmp_path, name="x") as run:

        def interrupted(core):
            os.kill(os.getpid(), signal.SIGUSR1)
            return child_sink(core)

        def act():
            signal.alarm(20)
            signal.signal(signal.SIGUSR1, lambda *_: run.emit(events.ScalarLogged, name="child", step=1))
            mocker.patch("esper_telemetry.recorder.core.child_sink", interrupted)
            run.emit(events.ScalarLogged, name="child", step=2)
            run.close()

        in_child(act)
    _, child = streams(run)
    assert sorted(steps(child, "child")) == [1, 2]


def test_an_exception_of_a_signal_handler_while_the_stream_opens_is_the_callers_and_the_next_event_opens_it(
    tmp_path, in_child, mocker
):
    with et.start_run(tmp_path, name="x") as run:

        def act():
            opened = mocker.patch("esper_telemetry.recorder.core.child_sink", side_effect=KeyboardInterrupt)
            with pytest.raises(KeyboardInterrupt):
                run.emit(events.ScalarLogged, name="child", step=1)
            opened.side_effect = child_sink
            run.emit(events.ScalarLogged, name="child", step=2)
            run.close()

        in_child(act)
    _, child = streams(run)
    assert steps(child, "child") == [2]
