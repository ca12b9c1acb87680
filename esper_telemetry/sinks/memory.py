"""Keeps batches in memory: the twin of the file sink for tests. It never touches a disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile.frame_events import parse_events

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esper_telemetry.schema.batch import Batch
    from esper_telemetry.schema.event_type import EventType
    from esper_telemetry.v1 import record_pb2


class MemorySink:
    """A sink that keeps what it is given.

    Attributes:
        batches: every batch, in order.
        types: event type by type id, of all types declared so far.
        syncs: how often sync was called.
        closed: whether close was called.
    """

    def __init__(self, types: Iterable[tuple[int, EventType]] = ()) -> None:
        self.batches: list[Batch] = []
        self.types: dict[int, EventType] = dict(types)
        self.syncs = 0
        self.closed = False

    def write(self, batch: Batch) -> None:
        """Keep `batch`."""
        if self.closed:
            raise SinkError("the memory sink is closed")
        self.types.update(batch.new_types)
        self.batches.append(batch)

    def sync(self) -> None:
        """Count the call."""
        self.syncs += 1

    def close(self) -> None:
        """Refuse further batches."""
        self.closed = True

    def events(self) -> list[record_pb2.Event]:
        """Return every event kept, parsed."""
        return [event for batch in self.batches for event in parse_events(batch.raw)]
