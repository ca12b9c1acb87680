"""The runs that are open in this process: each is read and folded once, however many viewers it has.

Their number is bounded; the one that has been without a viewer for longest is closed first.
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esper_telemetry.errors import RecordError
from esper_telemetry.ui.pace import Pace, PacedOrigin
from esper_telemetry.ui.runfold import RunFold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.ui.listing import Listing
    from esper_telemetry.views import Panel

MOST_OPEN = 8
# A fold of a million events took a minute to make: it is kept for a viewer that comes back.
_IDLE_S = 1800.0
_REPLAY_IDLE_S = 60.0
REPLAY = "replay~"


@dataclass(slots=True)
class _Open:
    fold: RunFold
    used: float
    pace: Pace | None = None


class OpenRuns:
    """Opens runs when they are asked for. Any thread may call it; opening may read files or wait for a collector.

    Args:
        listing: where runs are found.
        panels: what is folded of each.
        most: how many runs and replays may be open.
    """

    def __init__(self, listing: Listing, panels: Sequence[Panel], most: int = MOST_OPEN) -> None:
        self.listing = listing
        self._panels = panels
        self._most = most
        self._lock = threading.Lock()
        self._open: dict[str, _Open] = {}

    def get(self, key: str) -> RunFold:
        """Return an open run, opened if it was not.

        Raises:
            RecordError: there is none of this key, its replay is over, or as many are open and watched as may be.
        """
        with self._lock:
            known = self._open.get(key)
            if known is not None:
                known.used = time.monotonic()
                return known.fold
        if key.startswith(REPLAY):
            raise RecordError("this replay is over; begin another one from the run", path=key)
        fold = RunFold(self.listing.origin(key), self._panels)
        return self._add(key, _Open(fold, time.monotonic()))

    def replay(self, key: str, speed: float) -> str:
        """Begin a replay of a run; return its key.

        Raises:
            RecordError: as `get`.
            ValueError: there is no such speed.
        """
        pace = Pace()
        pace.set(speed=speed)
        fold = RunFold(PacedOrigin(self.listing.origin(key), pace), self._panels, live=False)
        name = f"{REPLAY}{secrets.token_hex(6)}"
        self._add(name, _Open(fold, time.monotonic(), pace))
        return name

    def pace(self, key: str) -> Pace:
        """Return the pace of a replay.

        Raises:
            RecordError: there is no such replay.
        """
        with self._lock:
            known = self._open.get(key)
            if known is None or known.pace is None:
                raise RecordError("this replay is over; begin another one from the run", path=key)
            return known.pace

    def close(self) -> None:
        """Stop reading every run."""
        with self._lock:
            folds = [known.fold for known in self._open.values()]
            self._open.clear()
        for fold in folds:
            fold.stop()

    def _add(self, key: str, opened: _Open) -> RunFold:
        with self._lock:
            if key in self._open:  # another viewer was faster; what we made was not started
                return self._open[key].fold
            dropped = self._make_room(key)
            self._open[key] = opened
            opened.fold.start()
        for fold in dropped:
            fold.stop()
        return opened.fold

    def _make_room(self, key: str) -> list[RunFold]:
        now = time.monotonic()
        idle = sorted((each.used, name) for name, each in self._open.items() if not each.fold.ring.viewers)
        due = [name for used, name in idle if now - used > (_REPLAY_IDLE_S if name.startswith(REPLAY) else _IDLE_S)]
        if len(self._open) - len(due) >= self._most:
            due += [name for _, name in idle if name not in due][: len(self._open) - len(due) - self._most + 1]
        if len(self._open) - len(due) >= self._most:
            raise RecordError(f"{self._most} runs are open and watched; close a page before you open another", path=key)
        return [self._open.pop(name).fold for name in due]
