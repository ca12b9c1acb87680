"""The loss ledger: every lost event, counted in one place by type and cause.

There is no lock: each change is one C call, which neither a signal, an asynchronous exception nor another thread can
cut in two, and each reading starts from a copy that is one C call too.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter

from esper_telemetry.recorder.notices import notify, write_notices_soon
from esper_telemetry.v1 import run_pb2

BUFFER_FULL = run_pb2.DROP_CAUSE_BUFFER_FULL
TOO_LARGE = run_pb2.DROP_CAUSE_TOO_LARGE
INVALID = run_pb2.DROP_CAUSE_INVALID
SHUTDOWN = run_pb2.DROP_CAUSE_SHUTDOWN
AFTER_CLOSE = run_pb2.DROP_CAUSE_AFTER_CLOSE
RECORD_REMOVED = run_pb2.DROP_CAUSE_RECORD_REMOVED
IN_CHILD = run_pb2.DROP_CAUSE_IN_CHILD
WRITER_FAILED = run_pb2.DROP_CAUSE_WRITER_FAILED


class LossLedger:
    """Counts of lost events."""

    def __init__(self) -> None:
        """Start with nothing lost."""
        self._losses: Counter[tuple[str, int]] = Counter()
        self._reported: Counter[tuple[str, int]] = Counter()

    @property
    def losses(self) -> Counter[tuple[str, int]]:
        """(full message name, DropCause number) → events lost since the stream started: a copy."""
        return Counter(self._losses)

    @property
    def total(self) -> int:
        """Events lost since the stream started."""
        return sum(self._losses.values())

    def count(self, full_name: str, cause: int, events: int = 1) -> None:
        """Count `events` of type `full_name` as lost for `cause`."""
        self._losses.update(itertools.repeat((full_name, cause), events))

    def take_unreported(self) -> list[run_pb2.DropCount]:
        """Return the losses since the last call, and count them as reported. Writer thread only."""
        losses = self.losses
        fresh, self._reported = losses - self._reported, losses
        return drop_counts(fresh)


def drop_counts(losses: Counter[tuple[str, int]]) -> list[run_pb2.DropCount]:
    """Return `losses` as messages, ordered by type and cause."""
    return [
        run_pb2.DropCount(full_name=name, cause=cause, count=count)  # type: ignore[arg-type]  # a number of the enum
        for (name, cause), count in sorted(losses.items())
    ]


class LateEvents:
    """Counts of the events that one run was given after its end; threads and signal handlers may share it.

    The record is closed and cannot contain them; `Run.stats()` does, under the cause "after_close".
    """

    def __init__(self) -> None:
        self._ledger = LossLedger()
        self._unreported = [True]  # taken by the caller that reports it: a list's pop is atomic

    @property
    def losses(self) -> Counter[tuple[str, int]]:
        """(full message name, AFTER_CLOSE) → events, as the ledger of the run has its losses."""
        return self._ledger.losses

    def count(self, full_name: str) -> None:
        """Count an event; the first one of the run is reported."""
        self._ledger.count(full_name, AFTER_CLOSE)
        try:
            self._unreported.pop()
        except IndexError:
            return
        notify(
            logging.WARNING,
            f"{full_name} was emitted after its run was closed: it is dropped, like all that follow (counted in stats()"
            " as after_close, reported once); emit before close(), or inside the with block",
        )
        write_notices_soon()
