"""Whether the wall clock may be believed when something is to be deleted for its age.

A dead battery, a bad time server or a typing error can put a clock years ahead, and everything is old then. So the
clock is believed only after it has gone as the steady clock went, for a day: since the start, if the folder was last
used an hour or more before it by this clock, and since any leap. Until then nothing is deleted, and no restart counts
as use: a day late costs disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from esper_telemetry.collector.intake import Intake


_MARK = ".collector.clock"
# A folder that was not used for so long before the start may be as old as that, or the clock may be wrong.
_GAP_S = 3600.0
# The two clocks drift by less than this in any time between two looks.
_LEAP_S = 60.0
_PROBATION_S = 86_400.0
_MARK_S = 60.0
_LOOKED_FOR = 1000


class WallClock:
    """The wall clock of a collector, watched.

    Args:
        folder: the collector's folder; the time of a file in it tells when it was last used.

    Attributes:
        doubt: why the clock is not believed now; empty if it is.
    """

    def __init__(self, folder: Path) -> None:
        self._mark = folder / _MARK
        self._offset: float | None = None
        self._trusted_at = 0.0
        self._marked_at = -_MARK_S
        self.doubt = ""

    def look(self, wall: float, steady: float) -> bool:
        """Compare the clocks and return whether the wall clock is believed; call it every second or so. It blocks.

        Args:
            wall: wall clock, seconds since 1970 UTC.
            steady: a clock that never leaps, seconds.
        """
        offset = wall - steady
        if self._offset is None:
            self._start(wall, steady)
        elif abs(offset - self._offset) > _LEAP_S:
            self._distrust(f"the wall clock leapt by {offset - self._offset:,.0f} s", steady)
        self._offset = offset
        if steady >= self._trusted_at:
            self.doubt = ""
        if not self.doubt and steady >= self._marked_at + _MARK_S:
            self._marked_at = steady
            self._leave_mark(wall)
        return not self.doubt

    def _leave_mark(self, wall: float) -> None:
        with contextlib.suppress(OSError):
            self._mark.touch()
            os.utime(self._mark, (wall, wall))

    def _start(self, wall: float, steady: float) -> None:
        try:
            last_used = self._mark.stat().st_mtime
        except OSError:
            last_used = self._newest()
        gap = wall - last_used
        if last_used and not -_LEAP_S <= gap <= _GAP_S:
            self._leave_mark(last_used)  # what is written by this clock vouches for nothing at the next start
            self._distrust(f"by the wall clock this folder was last used {gap / 3600:,.1f} h ago", steady)

    def _newest(self) -> float:
        """Return the time of the newest file, for a folder without the mark; 0 where there is none."""
        times = [0.0]
        for path in self._mark.parent.glob("*/*"):
            with contextlib.suppress(OSError):
                times.append(path.stat().st_mtime)
        return max(times)

    def _distrust(self, doubt: str, steady: float) -> None:
        self.doubt = f"{doubt}: nothing is deleted for its age within {_PROBATION_S / 3600:g} h of steady running"
        self._trusted_at = steady + _PROBATION_S


def inspect(intake: Intake) -> None:
    """Have the files looked for that open streams have been told are durable: of 1,000 producers a second, in turn.

    To look for those of 10,000 every second took a third of a core.
    """
    producers = intake.roster.producers
    turns = -(-len(producers) // _LOOKED_FOR) or 1
    first = int(asyncio.get_running_loop().time()) % turns * _LOOKED_FOR
    looked_for = islice(producers.values(), first, first + _LOOKED_FOR)
    intake.engine.inspect([each.lane for each in looked_for if each.listener is not None and each.lane.published])
