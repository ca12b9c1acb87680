"""The loss ledger: every lost event, counted in one place by type and cause.

It is not locked: its owner (the buffer) calls it under its own lock.
"""

from __future__ import annotations

from collections import Counter

from esper_telemetry.v1 import run_pb2

BUFFER_FULL = run_pb2.DROP_CAUSE_BUFFER_FULL
TOO_LARGE = run_pb2.DROP_CAUSE_TOO_LARGE
INVALID = run_pb2.DROP_CAUSE_INVALID
SINK_FAILED = run_pb2.DROP_CAUSE_SINK_FAILED
SHUTDOWN = run_pb2.DROP_CAUSE_SHUTDOWN
RECORD_REMOVED = run_pb2.DROP_CAUSE_RECORD_REMOVED


class LossLedger:
    """Counts of lost events.

    Attributes:
        losses: (full message name, DropCause number) → events, since the stream started.
    """

    def __init__(self) -> None:
        """Start with nothing lost."""
        self.losses: Counter[tuple[str, int]] = Counter()
        self._reported: Counter[tuple[str, int]] = Counter()

    @property
    def total(self) -> int:
        """Events lost since the stream started."""
        return self.losses.total()

    def count(self, full_name: str, cause: int, events: int = 1) -> None:
        """Count `events` of type `full_name` as lost for `cause`."""
        self.losses[full_name, cause] += events

    def take_unreported(self) -> list[run_pb2.DropCount]:
        """Return the losses since the last call, and count them as reported."""
        fresh = self.losses - self._reported
        self._reported = self.losses.copy()
        return drop_counts(fresh)


def drop_counts(losses: Counter[tuple[str, int]]) -> list[run_pb2.DropCount]:
    """Return `losses` as messages, ordered by type and cause."""
    return [
        run_pb2.DropCount(full_name=name, cause=cause, count=count)  # type: ignore[arg-type]  # a number of the enum
        for (name, cause), count in sorted(losses.items())
    ]
