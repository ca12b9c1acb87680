"""Events that come after the end of a run: dropped, counted, and said once.

The record is closed, so nothing can tell of them there; `Run.stats()` does, under the cause "after_close".
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from esper_telemetry.recorder.ledger import AFTER_CLOSE, LossLedger

if TYPE_CHECKING:
    from collections import Counter

_log = logging.getLogger("esper_telemetry")


class LateEvents:
    """Counts of the events that one run was given after its end; threads and signal handlers may share it."""

    def __init__(self) -> None:
        self._ledger = LossLedger()
        self._unsaid = [True]  # taken by who says it: a list's pop is atomic

    @property
    def losses(self) -> Counter[tuple[str, int]]:
        """(full message name, AFTER_CLOSE) → events, as the ledger of the run has its losses."""
        return self._ledger.losses

    def count(self, full_name: str) -> None:
        """Count an event; the first one of the run is said."""
        self._ledger.count(full_name, AFTER_CLOSE)
        try:
            self._unsaid.pop()
        except IndexError:
            return
        _log.warning(
            "%s was emitted after its run was closed: it is dropped, like all that follow (counted in stats() as"
            " after_close, said once); emit before close(), or inside the with block",
            full_name,
        )
