"""What the events of a frame say, held against what its descriptor says.

The reader checks counts and ends only; verify and recover look at every event.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from google.protobuf.message import DecodeError

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.index import mask_of
from esper_telemetry.recordfile.layout import Descriptor
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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


def parse_frame(raw: bytes) -> list[record_pb2.Event]:
    """Return the events of a decompressed frame.

    Raises:
        CorruptRecordError: it holds something else, or nothing.
    """
    try:
        content = record_pb2.RecordFile.FromString(raw)
    except DecodeError as error:
        raise CorruptRecordError(f"the frame holds no events: {error}") from None
    if content.header or not content.event:
        raise CorruptRecordError(f"the frame holds {len(content.header)} headers and {len(content.event)} events")
    return list(content.event)


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
