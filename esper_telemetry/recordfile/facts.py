"""What the events of a frame say, held against what its descriptor says.

The reader checks counts and ends only; verify and recover look at every event.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise
from typing import TYPE_CHECKING, NamedTuple

from google.protobuf.message import DecodeError

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.elements import element_spans
from esper_telemetry.recordfile.index import mask_of
from esper_telemetry.recordfile.layout import Descriptor
from esper_telemetry.schema.batch import MAX_BATCH_BYTES
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


# Type and number of an event take four bytes with their tags, its element two more.
SMALLEST_EVENT = 6


class FrameFacts(NamedTuple):
    """What the events of a frame say together.

    Attributes:
        records: how many they are.
        first_seq: number of the first.
        last_seq: number of the last.
        min_time: earliest time, nanoseconds since 1970 UTC.
        max_time: latest time.
        type_counts: events by type id.
    """

    records: int
    first_seq: int
    last_seq: int
    min_time: int
    max_time: int
    type_counts: Mapping[int, int]

    def descriptor(self, compressed_size: int, raw_size: int) -> Descriptor:
        """Return a descriptor for a frame of these events; it covers no number outside them."""
        mask = mask_of(self.type_counts)
        return Descriptor(
            compressed_size, raw_size, self.records, mask, self.first_seq, self.last_seq, self.min_time, self.max_time
        )


def parse_frame(raw: bytes, records: int | None = None) -> list[record_pb2.Event]:
    """Return the events of a decompressed frame; arguments and errors as `parse_events`."""
    return list(parse_events(raw, records))


def parse_events(raw: bytes, records: int | None = None) -> Sequence[record_pb2.Event]:
    """Return the events of a decompressed frame, each made when it is looked at: cheaper where few are wanted.

    Args:
        raw: the frame.
        records: how many events its descriptor says; None where there is no descriptor.

    Raises:
        CorruptRecordError: it holds something else, nothing, or another number of events.
    """
    limit = len(raw) // SMALLEST_EVENT if records is None else records
    # Empty events cost 35 times their bytes once parsed. No writer of ours makes frames so large that this matters.
    if len(raw) > MAX_BATCH_BYTES and sum(1 for _ in islice(element_spans(raw), limit + 1)) > limit:
        raise CorruptRecordError(f"the frame holds more than the {limit:,} events it may")
    try:
        content = record_pb2.RecordFile.FromString(raw)
    except DecodeError as error:
        raise CorruptRecordError(f"the frame holds no events: {error}") from None
    if content.header or not content.event:
        raise CorruptRecordError(f"the frame holds {len(content.header)} headers and {len(content.event)} events")
    if records is not None and len(content.event) != records:
        raise CorruptRecordError(f"the frame holds {len(content.event):,} events, its descriptor says {records:,}")
    return content.event


def frame_facts(events: Sequence[record_pb2.Event]) -> FrameFacts:
    """Return what `events` (at least one) say.

    Raises:
        CorruptRecordError: their numbers do not rise, or one has no type.
    """
    seqs = [event.seq for event in events]
    for before, after in pairwise(seqs):
        if after <= before:
            raise CorruptRecordError(f"number {after:,} stands behind number {before:,}")
    times = [event.time_unix_nano for event in events]
    counts = Counter(event.type_id for event in events)
    if counts[0] or not seqs[0]:
        raise CorruptRecordError("an event has no type or no number")
    return FrameFacts(len(events), seqs[0], seqs[-1], min(times), max(times), dict(sorted(counts.items())))


def contradiction(desc: Descriptor, facts: FrameFacts) -> str:
    """Return in which point a descriptor and the events of its frame disagree; empty where they agree."""
    if desc.records != facts.records:
        return f"the descriptor counts {desc.records:,} events, the frame holds {facts.records:,}"
    if facts.first_seq < desc.first_seq or facts.last_seq > desc.last_seq:
        return (
            f"the descriptor covers numbers {desc.first_seq:,} to {desc.last_seq:,},"
            f" the frame holds {facts.first_seq:,} to {facts.last_seq:,}"
        )
    if desc.type_mask != mask_of(facts.type_counts):
        return f"the descriptor has type mask {desc.type_mask:#x}, the events make {mask_of(facts.type_counts):#x}"
    if (desc.min_time, desc.max_time) != (facts.min_time, facts.max_time):
        return (
            f"the descriptor spans {desc.min_time} to {desc.max_time}, the events {facts.min_time} to {facts.max_time}"
        )
    return ""
