"""From the batches that a sink is given to plain events: number, time, short name and a dict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.recordfile.frame_events import parse_events
from esper_telemetry.schema import to_plain

if TYPE_CHECKING:
    from esper_telemetry.schema.batch import Batch
    from esper_telemetry.schema.event_type import EventType


class DecodedEvent(NamedTuple):
    """An event as a user reads it.

    Attributes:
        seq: sequence number in its stream, from 1.
        time_unix_nano: wall clock time, nanoseconds since 1970 UTC.
        name: short name of its type, such as "scalar.logged".
        data: fields that were set, and those of its context; a field of the event comes before one of the context.
    """

    seq: int
    time_unix_nano: int
    name: str
    data: dict[str, Any]


class BatchDecoder:
    """Decodes the batches of one sink, in order: it keeps the types that they declare. Not for several threads."""

    def __init__(self) -> None:
        self._types: dict[int, EventType] = {}

    def declare(self, number: int, kind: EventType) -> None:
        """Remember a type that no batch declares: one of the stream's header."""
        self._types[number] = kind

    def decode(self, batch: Batch) -> list[DecodedEvent]:
        """Return the events of `batch`, in the order of their numbers."""
        self._types.update(batch.new_types)
        decoded = []
        for event in parse_events(batch.raw):
            kind = self._types[event.type_id]
            payload = to_plain(kind.cls.FromString(event.payload))
            data = {**payload, **to_plain(event.context), **payload}
            decoded.append(DecodedEvent(event.seq, event.time_unix_nano, kind.name, data))
        return decoded
