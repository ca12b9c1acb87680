"""The heartbeat: what the writer thread says when the program has said nothing for a while.

A slow epoch and a dead trainer look alike in a record that is merely quiet. The writer thread lives on in both, so its
word alone would make a dead main thread look alive: a heartbeat says since when the program has been silent, whether
the main thread is there, how much processor time it has had and which line it is in. What threads of the recorder emit
(samples of the system, reports of losses, heartbeats) is not the program's and breaks no silence.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import PurePath
from typing import Any

INTERVAL_S = 10.0


class Heartbeat:
    """Decides when a heartbeat is due. The writer thread alone calls it.

    Args:
        interval: seconds of silence, and seconds between two heartbeats.
    """

    def __init__(self, interval: float = INTERVAL_S) -> None:
        self.interval = interval
        self._stored = 0
        self._silent_since = self._beaten = time.monotonic()

    def due(self, stored: int) -> float | None:
        """Return the seconds of silence if a heartbeat is due now, else None.

        Args:
            stored: how much the program has recorded so far, in whatever grows with each event.
        """
        now = time.monotonic()
        if stored > self._stored:
            self._stored, self._silent_since = stored, now
        if now - max(self._silent_since, self._beaten) < self.interval:
            return None
        self._beaten = now
        return now - self._silent_since


def signs_of_life() -> dict[str, Any]:
    """Return what a RunHeartbeat says of the main thread, by field."""
    main = threading.main_thread()
    if not main.is_alive():
        return {"main_thread_alive": False}
    signs = {
        "main_thread_alive": True,
        "main_thread_cpu_s": _cpu_seconds(main),
        "main_thread_at": _place(main),
    }
    return {name: value for name, value in signs.items() if value is not None}


def _cpu_seconds(thread: threading.Thread) -> float | None:
    """Return the processor time of a thread that is alive: the clock of another one must not be asked for."""
    if thread.ident is None or not hasattr(time, "pthread_getcpuclockid"):
        return None
    try:
        return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    except OSError:
        return None


def _place(thread: threading.Thread) -> str | None:
    """Return the innermost Python line of a thread, without the folder of its file."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - the documented way to see another thread
    if frame is None:
        return None
    return f"{frame.f_code.co_qualname} ({PurePath(frame.f_code.co_filename).name}:{frame.f_lineno})"
