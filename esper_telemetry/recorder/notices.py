"""Warnings of a run: queued where they arise, written to the log by a thread of the recorder.

Python's logging swallows an exception that arrives while a handler writes (`Handler.emit` catches Exception), so a
warning written in the training thread could swallow what a signal handler raises there. The writer thread of a run
writes what is queued in its next turn; where no writer is left, a short thread of its own does, and the end of the
interpreter writes the rest. Nothing is locked: each change of the queue is one C call.
"""

from __future__ import annotations

import _thread
import atexit
import logging
import os
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.recorder.wakeup import wait_until

if TYPE_CHECKING:
    from esper_telemetry.errors import SchemaError

_log = logging.getLogger("esper_telemetry")
# Mistakes that are told apart: a caller that makes new ones all the time fills neither log nor memory.
_MOST_MISTAKES = 256
_PATIENCE_S = 1.0


class _Notice(NamedTuple):
    level: int
    text: str
    error: BaseException | None


_queue: deque[_Notice] = deque()
_writing: list[int] = []  # threads that are writing now
_ended = threading.Event()  # the last step at exit has passed: nothing writes what is queued from here on


def notify(level: int, text: str, error: BaseException | None = None) -> None:
    """Queue a line for the log.

    A log handler that causes a notice while it writes one is not called for it, so that it cannot go round in circles.

    Args:
        level: of `logging`.
        text: the line.
        error: its traceback is written as well.
    """
    if threading.get_ident() not in _writing:
        _queue.append(_Notice(level, text, error))


def write_notices() -> None:
    """Write what is queued. Called by a thread of the recorder, or at the end of the interpreter."""
    if not _queue:
        return
    me = threading.get_ident()
    _writing.append(me)
    try:
        while _queue:
            with suppress(IndexError):  # another thread took the last one
                notice = _queue.popleft()
                write_line(notice.level, notice.text, notice.error)
    finally:
        _writing.remove(me)


def write_notices_soon() -> None:
    """Have a thread write what is queued, without waiting: the writer of the run has ended.

    An exit hook that was registered before this module was imported runs after its last step: there it waits.
    """
    if _ended.is_set():
        settle_notices()
        return
    with suppress(RuntimeError):  # the interpreter is ending: its last step writes
        _thread.start_new_thread(write_notices, ())


def settle_notices() -> None:
    """Return when what is queued was written: at the end of a run, after which the process may end at once."""
    if not _queue:
        return
    try:
        _thread.start_new_thread(write_notices, ())
    except RuntimeError:
        write_notices()
    wait_until(_nothing_to_write, time.monotonic() + _PATIENCE_S)


def write_line(level: int, text: str, error: BaseException | None = None) -> None:
    """Write a line to the log; what a handler of the program raises ends no thread of the recorder."""
    with suppress(Exception):
        _log.log(level, "%s", text, exc_info=error)


def _nothing_to_write() -> bool:
    return not (_queue or _writing)


def _write_at_exit() -> None:
    _ended.set()
    write_notices()
    wait_until(_nothing_to_write, time.monotonic() + _PATIENCE_S)  # a daemon thread that writes would be cut off


def _forget() -> None:
    _queue.clear()
    _writing.clear()


atexit.register(_write_at_exit)
if hasattr(os, "register_at_fork"):  # what is queued at a fork is the parent's to write
    os.register_at_fork(after_in_child=_forget)


class Mistakes:
    """Wrong calls of one run, each reported once for its type and mistake, whatever the values.

    Threads and signal handlers may share it.
    """

    def __init__(self) -> None:
        self._reported: set[tuple[str, str]] = set()

    def __len__(self) -> int:
        return len(self._reported)

    def report(self, name: str, error: SchemaError) -> bool:
        """Queue a warning that an event of type `name` was not recorded, and why; return False for a known mistake."""
        key = (name, error.about)
        if key in self._reported or len(self._reported) >= _MOST_MISTAKES:
            return False
        self._reported.add(key)
        notify(logging.WARNING, f"{name} was not recorded (counted as invalid, reported once): {error}")
        return True
