"""Waking and waiting, entered again from signal handlers."""

import itertools
import signal
import threading
import time

from esper_telemetry.recorder.wakeup import Wakeup, wait_until

PATIENCE = 30


def test_a_thread_is_woken_by_what_was_set_before_or_after_it_waits():
    wakeup, seen = Wakeup(), []
    wakeup.set()
    wakeup.set()
    wakeup.wait(PATIENCE)
    thread = threading.Thread(target=lambda: (wakeup.wait(PATIENCE), seen.append("woken")))
    thread.start()
    wakeup.set()
    thread.join(PATIENCE)
    assert seen == ["woken"]


def test_nothing_is_kept_for_a_thread_that_never_waits():
    wakeup = Wakeup()
    for _ in range(1000):
        wakeup.set()
    assert wakeup._queue.qsize() == 1


def test_a_handler_may_set_what_it_has_interrupted_the_setting_of():
    wakeup, handled = Wakeup(), itertools.count()
    before = signal.signal(signal.SIGALRM, lambda *_: (wakeup.set(), next(handled)))
    signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
    try:
        deadline = time.monotonic() + PATIENCE
        while repr(handled) < "count(500)" or len(repr(handled)) < len("count(500)"):
            wakeup.set()
            wakeup.wait(0)
            assert time.monotonic() < deadline
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_waiting_ends_with_the_condition_or_with_the_deadline():
    turns = itertools.count()
    assert wait_until(lambda: next(turns) == 5, time.monotonic() + PATIENCE)
    assert not wait_until(lambda: False, time.monotonic() + 0.01)
    assert wait_until(lambda: True, time.monotonic() - 1)
