"""A thread beside the writer: watched over, ended in a bounded time, absent in fork children."""

from __future__ import annotations

import os
import threading

import pytest

from esper_telemetry.recorder.background import Companion


def wait(stopping):
    stopping.wait()


def test_it_works_until_it_is_asked_to_stop():
    companion = Companion("waiter", wait)
    assert "esper-telemetry waiter" in [thread.name for thread in threading.enumerate()]
    companion.stop(5.0)
    assert "esper-telemetry waiter" not in [thread.name for thread in threading.enumerate()]
    assert companion.error is None


def test_one_that_hangs_is_left_after_the_time_it_was_given():
    release = threading.Event()
    companion = Companion("hanging one", lambda _: release.wait())
    companion.stop(0.01)
    assert "esper-telemetry hanging one" in [thread.name for thread in threading.enumerate()]
    release.set()
    companion.stop(5.0)
    assert "esper-telemetry hanging one" not in [thread.name for thread in threading.enumerate()]


def die(_stopping):
    raise SystemExit("a bug")


def test_a_death_is_logged_and_kept(caplog):
    companion = Companion("sick one", die)
    companion.stop(5.0)
    assert isinstance(companion.error, SystemExit)
    assert "the sick one has died, and the run goes on without it: SystemExit('a bug')" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_fork_child_waits_for_nobody():
    companion = Companion("waiter", wait)
    child = os.fork()
    if not child:
        companion.stop(3600.0)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    companion.stop(5.0)
