"""What the writer thread does in each turn beside writing: it looks after files, clocks, losses, children and silence.

It records what it finds as events of the run, each kind at its own pace, and nothing once the end of the run has begun:
from then on the last event contains it. Writer thread only, but for `end` and `take_removals`.

A slow epoch and a dead trainer look alike in a record that is merely quiet. The writer thread lives on in both, so its
word alone would make a dead main thread look alive: a heartbeat reports since when the program has been silent, whether
the main thread is alive, how much processor time it has had and which line it is in. What threads of the recorder emit
(samples of the system, reports of losses, heartbeats) is not the program's and breaks no silence.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Protocol

from esper_telemetry.recorder.ledger import IN_CHILD, RECORD_REMOVED
from esper_telemetry.recorder.notices import write_line
from esper_telemetry.recorder.timeline import ClockWatch
from esper_telemetry.v1 import options_pb2, run_pb2
from esper_telemetry.v1.process_pb2 import RunHeartbeat

if TYPE_CHECKING:
    from pathlib import Path

    from esper_telemetry.recorder.background import Background
    from esper_telemetry.recorder.buffer import Buffer
    from esper_telemetry.sinks import Sink, Vanished

INTERVAL_S = 10.0
_REPORT_INTERVAL = 1.0
_ANY_TYPE = "*"  # events of children that have no stream are not told apart


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
    """Return what a RunHeartbeat reports of the main thread, by field."""
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


class Kept(Protocol):
    """What is looked after: the stream of a run in one process."""

    level: int
    child: bool
    closing: bool
    has_children: bool

    @property
    def buffer(self) -> Buffer:
        """Its buffer."""

    @property
    def sink(self) -> Sink | None:
        """Where its events go; None before it is open."""

    @property
    def folder(self) -> Path | None:
        """The run folder; None for a run in memory."""

    @property
    def counting(self) -> bool:
        """Its events are counted and not recorded."""


class Housekeeping:
    """The upkeep of one process's stream.

    Args:
        stream: what is looked after.
        background: records what is found.

    Attributes:
        heartbeat: decides when the program has been silent for long.
    """

    def __init__(self, stream: Kept, background: Background) -> None:
        self._stream = stream
        self._background = background
        self.heartbeat = Heartbeat()
        self._clocks = ClockWatch()
        self._last_report = 0.0
        self._in_children = 0
        self._removal_reported = self._removal_news = False

    def turn(self) -> None:
        """Look after everything once, before events are taken."""
        stream = self._stream
        check_files = getattr(stream.sink, "check", None)
        if check_files is not None:
            check_files()
        step = self._clocks.look(stream.buffer.timeline)
        if step is not None and stream.level > options_pb2.LEVEL_OFF and not stream.closing:
            self._background.emit("clocks", step)
        self._count_children()
        self._report_losses()
        if not stream.child:
            self.beat()

    def beat(self) -> None:
        """Record a heartbeat if one is due."""
        idle = self.heartbeat.due(self._background.stored_by_program)
        if idle is not None:
            self._background.emit("heartbeat", RunHeartbeat(idle_s=idle, **signs_of_life()))

    def end(self) -> None:
        """Remove the count of children, which is in the record now."""
        if self._in_children and self._stream.folder is not None:
            from esper_telemetry.sinks import remove_tally

            remove_tally(self._stream.folder)

    def record_vanished(self, vanished: Vanished) -> None:
        """Count the events of a file that was moved, cut or removed while it was written: they are lost to the record.

        Events of a file that was moved still exist, but not in the run's record. The sink finds out, and goes on in a
        new segment.
        """
        self._stream.buffer.take_back(vanished.events, RECORD_REMOVED)
        self._removal_news = True
        if not self._removal_reported:
            self._removal_reported = True
            write_line(
                logging.WARNING,
                f"{vanished.path} was {vanished.how} while it was being written: {vanished.events.total()} events are"
                " not in the record (reported once; they are counted as record_removed). Recording goes on in a new"
                " segment",
            )

    def take_removals(self) -> bool:
        """Return whether a file was found to be gone since the last call. Any thread."""
        news, self._removal_news = self._removal_news, False
        return news

    def _report_losses(self) -> None:
        """Emit a DropReport if something was lost since the last one, at most once a second."""
        stream, now = self._stream, time.monotonic()
        if stream.closing or stream.counting or not stream.buffer.ledger.total:
            return
        if now - self._last_report < _REPORT_INTERVAL:
            return
        drops, total, offered = stream.buffer.unreported_losses()
        if drops and stream.level != options_pb2.LEVEL_OFF:
            self._last_report = now
            report = run_pb2.DropReport(drops=drops, total_dropped=total, total_offered=offered)
            self._background.emit("losses", report)

    def _count_children(self) -> None:
        """Give numbers to the events of children that have no stream, and count them as lost: here is the record."""
        stream = self._stream
        if stream.child or stream.folder is None or not stream.has_children:
            return
        from esper_telemetry.sinks import tallied  # loaded since the file was opened

        found = tallied(stream.folder)
        if found > self._in_children:
            stream.buffer.ledger.count(_ANY_TYPE, IN_CHILD, found - self._in_children)
            self._in_children = found
