"""A thread that no error ends: each is logged when it is new, counted, shown, and the work is tried again."""

import logging
import threading
import time

import pytest

from esper_telemetry.daemon import worker
from esper_telemetry.daemon.failures import TaskFailures
from esper_telemetry.daemon.metrics_port import MetricSet


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(worker, "_FIRST_WAIT_S", 0.001)


@pytest.fixture
def metrics():
    return MetricSet("test_")


@pytest.fixture
def failures(metrics):
    return TaskFailures(logging.getLogger("worker"), metrics.task_failures, metrics.task_failing)


def shown(metrics, name: str) -> float:
    return metrics.registry.get_sample_value(f"test_{name}", {"task": "files"})


def test_a_turn_that_raises_is_logged_once_counted_shown_and_taken_again(metrics, failures, caplog):
    turns, enough = [], threading.Event()

    def turn() -> float:
        turns.append(shown(metrics, "task_failing"))
        if len(turns) < 4:
            raise OSError(28, "No space left on device")
        enough.set()
        return 60.0

    thread = worker.WorkerThread("files", turn, failures)
    thread.start()
    assert enough.wait(30)
    thread.end()
    assert turns == [0, 1, 1, 1]
    assert shown(metrics, "task_failures_total") == 3
    assert shown(metrics, "task_failing") == 0
    assert not failures.failing()
    assert [record.getMessage() for record in caplog.records] == [
        "files failed and is tried again: OSError: [Errno 28] No space left on device",
        "files works again",
    ]


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), MemoryError(), ValueError("a bug")])
def test_whatever_a_turn_raises_the_thread_goes_on(failures, error, caplog):
    turns, enough = [], threading.Event()

    def turn() -> float:
        turns.append(1)
        if len(turns) == 1:
            raise error
        enough.set()
        return 60.0

    thread = worker.WorkerThread("files", turn, failures)
    thread.start()
    assert enough.wait(30)
    thread.end()
    assert "Traceback" in caplog.text, "what is a bug has its place"


def test_a_thread_that_waits_is_woken_and_ends_at_once(failures):
    turns = []

    def turn() -> float:
        turns.append(1)
        return 3600.0

    thread = worker.WorkerThread("files", turn, failures)
    thread.start()
    for number in range(1, 4):
        while len(turns) < number:
            time.sleep(0.001)
        thread.wake()
    thread.end()
    assert len(turns) >= 3


def test_one_that_was_never_started_can_be_ended(failures):
    worker.WorkerThread("files", lambda: 1.0, failures).end()


def test_what_failed_last_is_listed_until_it_works(failures):
    failures.failed("files", OSError("full"))
    failures.failed("archive", ValueError("refused"))
    assert failures.failing() == {"files": "OSError: full", "archive": "ValueError: refused"}
    failures.worked("files")
    failures.happened("callbacks", ValueError("one of many"))
    assert failures.failing() == {"archive": "ValueError: refused"}
