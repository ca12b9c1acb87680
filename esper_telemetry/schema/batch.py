"""What travels from the recorder to a sink: events that are already bytes, and the range they cover."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esper_telemetry.clock import Anchor
    from esper_telemetry.schema.event_type import EventType

# Limits of the record format (design: a frame stays under 960 KiB compressed even when nothing compresses).
MAX_EVENT_BYTES = 512 * 1024
MAX_BATCH_BYTES = 896 * 1024


@dataclass(slots=True)
class Batch:
    """Events of one stream, in the order of their sequence numbers, to become one frame.

    Attributes:
        events: elements of `RecordFile.event`, each with its tag and length.
        type_ids: the type of each event, by position.
        first_seq: first sequence number the batch covers: one more than the last of the batch before.
        last_seq: last sequence number it covers. Those of events that were dropped lie inside
            the range, so len(events) <= last_seq - first_seq + 1.
        min_time: earliest event time, nanoseconds since 1970 UTC.
        max_time: latest event time.
        raw_size: sum of the lengths of `events`.
        new_types: types first used here, with their ids; a sink declares them first.
        anchor: the moment that its times were reckoned from; None where the stream has one for all.
    """

    events: list[bytes]
    type_ids: list[int]
    first_seq: int
    last_seq: int
    min_time: int
    max_time: int
    raw_size: int
    new_types: list[tuple[int, EventType]] = field(default_factory=list)
    anchor: Anchor | None = None
