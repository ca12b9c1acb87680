"""Waking a thread, and waiting for one, where a signal or an exception may come between any two instructions.

The events and conditions of `threading` hold a lock of their own for a moment: a signal handler that sets one which
its own thread is just setting waits for itself. Here one side is a SimpleQueue, whose `put` may be entered again, and
the other looks at plain attributes in growing intervals: nothing is held while waiting, so nothing can be left held.
"""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST_PAUSE, _LAST_PAUSE = 0.0002, 0.005


class Wakeup:
    """Wakes the one thread that waits on it; any thread, signal handler or finalizer may call `set`."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        """Let `wait` return, now or when it is called next."""
        if self._queue.empty():  # so that a thread that never comes leaves one item a caller at most
            self._queue.put(None)

    def wait(self, timeout: float) -> None:
        """Return when `set` was called since the last return, or after `timeout` seconds."""
        with suppress(queue.Empty):
            self._queue.get(timeout=min(max(0.0, timeout), threading.TIMEOUT_MAX))
        while not self._queue.empty():
            self._queue.get_nowait()


def wait_until(condition: Callable[[], bool], deadline: float) -> bool:
    """Wait until `condition` holds; return False if it does not by `deadline` (time.monotonic())."""
    pause = _FIRST_PAUSE
    while not condition():
        left = deadline - time.monotonic()
        if left <= 0:
            return condition()
        time.sleep(min(pause, left))
        pause = min(pause * 2, _LAST_PAUSE)
    return True
