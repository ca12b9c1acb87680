"""Events that come after the end of a run: dropped, counted, and said once.

The record is closed, so nothing can tell of them there; `Run.stats()` does, under the cause "after_close".
"""

from __future__ import annotations

import logging
import threading
from collections import Counter

from esper_telemetry.v1 import run_pb2

_log = logging.getLogger("esper_telemetry")

AFTER_CLOSE = run_pb2.DROP_CAUSE_AFTER_CLOSE


class LateEvents:
    """Counts of the events that one run was given after its end; threads may share it.

    Attributes:
        losses: (full message name, AFTER_CLOSE) → events, as the ledger has them.
    """

    def __init__(self) -> None:
        self.losses: Counter[tuple[str, int]] = Counter()
        self._lock = threading.RLock()  # a signal handler may emit while its thread is in here
        self._said = False

    def count(self, full_name: str) -> None:
        """Count an event; the first one of the run is said."""
        with self._lock:
            self.losses[full_name, AFTER_CLOSE] += 1
            first, self._said = not self._said, True
        if first:
            _log.warning(
                "%s was emitted after its run was closed: it is dropped, like all that follow (counted in"
                " stats() as after_close, said once); emit before close(), or inside the with block",
                full_name,
            )
