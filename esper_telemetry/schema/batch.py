"""What travels from the recorder to a sink: a piece of RecordFile, ready for a frame, and the range that it covers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from esper_telemetry.clock import Anchor
    from esper_telemetry.schema.event_type import EventType

# Limits of the record format (design: a frame stays under 960 KiB compressed even when nothing compresses).
MAX_EVENT_BYTES = 512 * 1024
MAX_BATCH_BYTES = 896 * 1024
_U64_MAX = (1 << 64) - 1


@dataclass(slots=True)
class Batch:
    """Events of one stream, to become one frame.

    Attributes:
        raw: the events, as a piece of RecordFile (`BatchDecoder` and `parse_events` read it).
        type_counts: events by type id.
        records: how many events there are.
        first_seq: first sequence number the batch covers: one more than the last of the batch before.
        last_seq: last sequence number it covers. Those of events that were dropped lie inside
            the range, so records <= last_seq - first_seq + 1.
        min_time: earliest event time, nanoseconds since 1970 UTC.
        max_time: latest event time.
        new_types: types first used here, with their ids; a sink declares them first.
        anchor: the moment that its times were reckoned from; None where the stream has one for all.
        batch_range: smallest and largest Context.batch_idx of its events; None where none has one.
        step_range: the same of Context.step.
    """

    raw: bytes
    type_counts: Counter[int]
    records: int
    first_seq: int
    last_seq: int
    min_time: int
    max_time: int
    new_types: list[tuple[int, EventType]] = field(default_factory=list)
    anchor: Anchor | None = None
    batch_range: tuple[int, int] | None = None
    step_range: tuple[int, int] | None = None

    @classmethod
    def of_events(
        cls, events: Sequence[bytes], type_ids: Iterable[int], seqs: tuple[int, int], times: tuple[int, int]
    ) -> Batch:
        """Return a batch of events that are envelopes.

        Args:
            events: elements of `RecordFile.event`, each with its tag and length.
            type_ids: the type of each.
            seqs: first and last sequence number that the batch covers.
            times: earliest and latest time.
        """
        raw = b"".join(events)
        ranges = [_range_of(raw, name) for name in ("batch_idx", "step")]
        return cls(raw, Counter(type_ids), len(events), *seqs, *times, batch_range=ranges[0], step_range=ranges[1])


def _range_of(raw: bytes, name: str) -> tuple[int, int] | None:
    """Return the smallest and largest value of a field of Context; the widest range where the events do not parse."""
    try:
        contexts = [event.context for event in record_pb2.RecordFile.FromString(raw).event]
    except DecodeError:
        return 0, _U64_MAX
    values = [getattr(one, name) for one in contexts if one.HasField(name)]
    return (min(values), max(values)) if values else None
