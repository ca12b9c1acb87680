"""What travels from the recorder to a sink: a piece of RecordFile, ready for a frame, and the range that it covers."""

from __future__ import annotations

from collections import Counter
from copy import copy
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from esper_telemetry.clock import Anchor
    from esper_telemetry.schema.event_type import EventType

# Limits of the record format (design: a frame stays under 960 KiB compressed even when nothing compresses).
MAX_EVENT_BYTES = 512 * 1024
MAX_BATCH_BYTES = 896 * 1024
_U64_MAX = (1 << 64) - 1


@dataclass(slots=True, init=False)
class Batch:
    """Events of one stream, to become one frame.

    Args:
        events: elements of `RecordFile.event`, each with its tag and length (`frame_event` makes one).
        type_ids: the type of each, by position.
        first_seq: first sequence number the batch covers: one more than the last of the batch before.
        last_seq: last sequence number it covers. Those of events that were dropped lie inside
            the range, so records <= last_seq - first_seq + 1.
        min_time: earliest event time, nanoseconds since 1970 UTC.
        max_time: latest event time.
        raw_size: sum of the lengths of `events`, where the caller knows it: it is compared.
        new_types: types first used here, with their ids; a sink declares them first.
        anchor: the moment that its times were reckoned from; None where the stream has one for all.

    Raises:
        ValueError: `events`, `type_ids` and `raw_size` contradict each other.

    Attributes:
        raw: the events, as a piece of RecordFile (`BatchDecoder` and `parse_events` read it).
        type_counts: events by type id.
        records: how many events there are.
        first_seq, last_seq, min_time, max_time, new_types, anchor: as given.
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
    new_types: list[tuple[int, EventType]]
    anchor: Anchor | None
    batch_range: tuple[int, int] | None
    step_range: tuple[int, int] | None

    def __init__(  # noqa: PLR0917 - a record of values in a fixed order, as a dataclass has them
        self,
        events: Sequence[bytes],
        type_ids: Sequence[int],
        first_seq: int,
        last_seq: int,
        min_time: int,
        max_time: int,
        raw_size: int | None = None,
        new_types: Iterable[tuple[int, EventType]] = (),
        anchor: Anchor | None = None,
    ) -> None:
        raw = b"".join(events)
        if len(type_ids) != len(events):
            raise ValueError(f"{len(events):,} events have {len(type_ids):,} type ids: give one for each")
        if raw_size is not None and raw_size != len(raw):
            raise ValueError(f"raw_size is {raw_size:,}, and the events have {len(raw):,} bytes: leave it out")
        self.raw, self.type_counts, self.records = raw, Counter(type_ids), len(events)
        self.first_seq, self.last_seq, self.min_time, self.max_time = first_seq, last_seq, min_time, max_time
        self.new_types, self.anchor = list(new_types), anchor
        self.batch_range, self.step_range = _range_of(raw, "batch_idx"), _range_of(raw, "step")

    def replace(self, **values: Any) -> Batch:
        """Return a copy in which the attributes named are others; nothing is looked at anew.

        It takes the place of `dataclasses.replace`, which calls the class with its attributes: this one is made of
        events. `records` follows `type_counts` where that is given alone.

        Raises:
            TypeError: a batch has no such attribute.
        """
        names = [field.name for field in fields(self)]
        if unknown := sorted(values.keys() - set(names)):
            raise TypeError(f"a Batch has no {', '.join(unknown)}; it has {', '.join(names)}")
        made = copy(self)
        for name, value in values.items():
            setattr(made, name, value)
        made.type_counts, made.new_types = Counter(made.type_counts), list(made.new_types)  # of its own
        if "records" not in values:
            made.records = made.type_counts.total()
        return made

    def declaring(self, new_types: Iterable[tuple[int, EventType]]) -> Batch:
        """Return the same batch for a reader to which other types are new."""
        return self.replace(new_types=new_types)

    @classmethod
    def of_raw(
        cls,
        raw: bytes,
        type_counts: Mapping[int, int],
        seqs: tuple[int, int],
        times: tuple[int, int],
        *,
        new_types: Iterable[tuple[int, EventType]] = (),
        anchor: Anchor | None = None,
        batch_range: tuple[int, int] | None = None,
        step_range: tuple[int, int] | None = None,
    ) -> Batch:
        """Return a batch of a piece of RecordFile, whose events are envelopes or columns; nothing looks into it.

        Args:
            raw: the piece.
            type_counts: its events by type id.
            seqs: first and last sequence number that the batch covers.
            times: earliest and latest time.
            new_types: as of the class.
            anchor: as of the class.
            batch_range: smallest and largest Context.batch_idx; None where none has one.
            step_range: the same of Context.step.
        """
        made = cls.__new__(cls)
        made.raw, made.type_counts = raw, Counter(type_counts)
        made.records = made.type_counts.total()
        (made.first_seq, made.last_seq), (made.min_time, made.max_time) = seqs, times
        made.new_types, made.anchor = list(new_types), anchor
        made.batch_range, made.step_range = batch_range, step_range
        return made


def _range_of(raw: bytes, name: str) -> tuple[int, int] | None:
    """Return the smallest and largest value of a field of Context; the widest range where the events do not parse."""
    try:
        contexts = [event.context for event in record_pb2.RecordFile.FromString(raw).event]
    except DecodeError:
        return 0, _U64_MAX
    values = [getattr(one, name) for one in contexts if one.HasField(name)]
    return (min(values), max(values)) if values else None
