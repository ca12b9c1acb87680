"""What the writer thread does in each cycle beside writing: files, clocks, losses, children and silence are looked at.

It says what it finds as events of the run, each at its own pace, and nothing once the end of the run has begun: from
then on the last event says it. Writer thread only, but for `end`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from esper_telemetry.recorder.clockwatch import ClockWatch
from esper_telemetry.recorder.ledger import IN_CHILD
from esper_telemetry.v1 import options_pb2, run_pb2

if TYPE_CHECKING:
    from esper_telemetry.recorder.core import Core

_REPORT_INTERVAL = 1.0
_ANY_TYPE = "*"  # events of children that have no stream are not told apart


class Housekeeping:
    """The upkeep of one process's stream.

    Args:
        core: of the run.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._clocks = ClockWatch()
        self._last_report = 0.0
        self._in_children = 0

    def turn(self) -> None:
        """Look after everything once, before events are taken."""
        core = self._core
        look_after_files = getattr(core.sink, "check", None)
        if look_after_files is not None:
            look_after_files()
        parted = self._clocks.look(core.buffer.timeline)
        if parted is not None and core.level > options_pb2.LEVEL_OFF and not core.closing:
            core.background.emit("clocks", parted)
        self._count_children()
        self._report_losses()
        if not core.child:
            core.background.beat()

    def end(self) -> None:
        """Remove the count of children, which is in the record now."""
        if self._in_children and self._core.files is not None:
            from esper_telemetry.sinks import remove_tally

            remove_tally(self._core.files.folder)

    def _report_losses(self) -> None:
        """Emit a DropReport if something was lost since the last one, at most once a second."""
        core, now = self._core, time.monotonic()
        if core.closing or core.counting or not core.buffer.ledger.total or now - self._last_report < _REPORT_INTERVAL:
            return
        drops, total, offered = core.buffer.unreported_losses()
        if drops and core.level != options_pb2.LEVEL_OFF:
            self._last_report = now
            report = run_pb2.DropReport(drops=drops, total_dropped=total, total_offered=offered)
            core.background.emit("losses", report)

    def _count_children(self) -> None:
        """Give numbers to the events of children that have no stream, and count them as lost: here is the record."""
        core = self._core
        if core.child or core.files is None or not core.has_children:
            return
        from esper_telemetry.sinks import tallied  # loaded since the file was opened

        found = tallied(core.files.folder)
        if found > self._in_children:
            core.buffer.ledger.count(_ANY_TYPE, IN_CHILD, found - self._in_children)
            self._in_children = found
