"""SIGTERM as an exception, so that a terminated trainer closes its record like any other.

Python's default is to die on the spot. Where nobody else handles the signal, it becomes
a SystemExit with the shell's code 143, which unwinds `with` blocks and runs `atexit`.
A handler that somebody installed is never replaced.
"""

from __future__ import annotations

import signal
import threading
from typing import NoReturn

_SIGNAL_EXIT = 128  # a shell reports a process that died of signal n as 128 + n


class Terminated(SystemExit):
    """The process was asked to end by SIGTERM."""

    def __init__(self) -> None:
        super().__init__(_SIGNAL_EXIT + signal.SIGTERM)


def raise_on_sigterm() -> None:
    """Let SIGTERM raise Terminated in the main thread, unless the program has plans of its own for it."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _raise)


_seen = threading.Event()


def terminated() -> bool:
    """Tell whether SIGTERM has come: at exit, the exception it raised is gone."""
    return _seen.is_set()


def _raise(_number: int, _frame: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second signal ends a process that hangs in its exit
    _seen.set()
    raise Terminated
