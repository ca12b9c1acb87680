"""What the events of a frame state together, compared with what its descriptor states.

The reader checks counts and ends only; verify, recover and the collector look at every event.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from operator import lt
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.frame_events import count_strict, event_columns, frame_content, parse_events
from esper_telemetry.recordfile.index import FrameRanges, mask_of
from esper_telemetry.recordfile.layout import Descriptor
from esper_telemetry.schema.batch import MAX_BATCH_BYTES
from esper_telemetry.v1.context_pb2 import Context

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from esper_telemetry.recordfile.block_columns import BlockColumns
    from esper_telemetry.v1 import record_pb2

_PLACES = {name: Context.DESCRIPTOR.fields_by_name[name].number for name in FrameRanges._fields}


class FrameFacts(NamedTuple):
    """What the events of a frame state together.

    Attributes:
        records: how many they are.
        first_seq: sequence number of the first.
        last_seq: sequence number of the last.
        min_time: earliest time, nanoseconds since 1970 UTC.
        max_time: latest time.
        type_counts: events by type id.
        ranges: where they happened, as their contexts state.
    """

    records: int
    first_seq: int
    last_seq: int
    min_time: int
    max_time: int
    type_counts: Mapping[int, int]
    ranges: FrameRanges = FrameRanges()

    def descriptor(self, compressed_size: int, raw_size: int) -> Descriptor:
        """Return a descriptor for a frame of these events; it covers no sequence number outside them."""
        mask = mask_of(self.type_counts)
        return Descriptor(
            compressed_size, raw_size, self.records, mask, self.first_seq, self.last_seq, self.min_time, self.max_time
        )


def frame_facts(raw: bytes) -> FrameFacts:
    """Return what the events of a decompressed frame state, by column where that is safe, for half the cost.

    Raises:
        CorruptRecordError: it holds something else than events, their sequence numbers do not rise, or one has no type.
    """
    return _facts_by_column(raw) or facts_of(list(parse_events(raw)))


def facts_of(events: Sequence[record_pb2.Event]) -> FrameFacts:
    """Return what `events` (at least one) state.

    Pass a list: a repeated field of protobuf makes each event anew whenever it is iterated.

    Raises:
        CorruptRecordError: their sequence numbers do not rise, or one has no type.
    """
    seqs = [event.seq for event in events]
    for before, after in zip(seqs, islice(seqs, 1, None), strict=False):
        if after <= before:
            raise CorruptRecordError(f"sequence number {after:,} follows {before:,}")
    counts = Counter(event.type_id for event in events)
    if counts[0] or not seqs[0]:
        raise CorruptRecordError("an event has no type or no sequence number")
    times = [event.time_unix_nano for event in events]
    return _together(seqs, times, counts, FrameRanges(*(_extremes(_stated(events, name)) for name in _PLACES)))


def _stated(events: Iterable[record_pb2.Event], name: str) -> Iterable[int]:
    return (getattr(event.context, name) for event in events if event.context.HasField(name))


def _facts_by_column(raw: bytes) -> FrameFacts | None:
    """Return what `facts_of` would of a plain frame; None of any other, also of one that is to be refused."""
    if len(raw) > MAX_BATCH_BYTES:
        return None
    try:
        content = frame_content(raw)
    except CorruptRecordError:
        return None
    # Each event that came alone has at least one of each, and there are as many as events: so each has exactly one.
    count = count_strict(raw) if len(content.events) else content.records
    found = event_columns(raw) if count and not content.blocks else None
    if count != content.records:
        return None
    columns: Sequence[Any]
    if found is not None:
        columns = [found.type_ids, found.times, found.seqs, found.contexts]
    else:
        each = [(one.type_id, one.time_unix_nano, one.seq, one.context) for one in content.events]
        columns = list(zip(*each, strict=True)) or [(), (), (), ()]
    type_ids, times, seqs = list(columns[0]), list(columns[1]), list(columns[2])
    counts = Counter(type_ids)
    for block in content.blocks:
        counts[block.type_id] += len(block)
        times += block.times
        seqs += block.seqs
    if content.blocks:  # they interleave
        seqs.sort()
    if counts[0] or not seqs[0] or not all(map(lt, seqs, islice(seqs, 1, None))):
        return None
    return _together(seqs, times, counts, _ranges(columns[3], content.blocks))


def _ranges(contexts: Iterable[bytes], blocks: Iterable[BlockColumns]) -> FrameRanges:
    """Return where events happened, from the contexts of some and the columns of others."""
    known = [Context.FromString(one) for one in set(contexts)]
    found = []
    for name, number in _PLACES.items():
        values = [getattr(one, name) for one in known if one.HasField(name)]
        for block in blocks:
            column = block.context.get(number)
            if column is not None:
                own = [column.one()] if column.shared else column.values()
                values += min(own), max(own)
        found.append(_extremes(values))
    return FrameRanges(*found)


def _extremes(values: Iterable[int]) -> tuple[int, int] | None:
    known = list(values)
    return (min(known), max(known)) if known else None


def _together(seqs: Sequence[int], times: Sequence[int], counts: Counter[int], ranges: FrameRanges) -> FrameFacts:
    by_type = dict(sorted(counts.items()))
    return FrameFacts(len(seqs), seqs[0], seqs[-1], min(times), max(times), by_type, ranges)


def contradiction(desc: Descriptor, facts: FrameFacts) -> str:
    """Return in which point a descriptor and the events of its frame disagree; empty where they agree."""
    if desc.records != facts.records:
        return f"the descriptor counts {desc.records:,} events, the frame holds {facts.records:,}"
    if facts.first_seq < desc.first_seq or facts.last_seq > desc.last_seq:
        return (
            f"the descriptor covers sequence numbers {desc.first_seq:,} to {desc.last_seq:,},"
            f" the frame holds {facts.first_seq:,} to {facts.last_seq:,}"
        )
    if desc.type_mask != mask_of(facts.type_counts):
        return f"the descriptor has type mask {desc.type_mask:#x}, the events make {mask_of(facts.type_counts):#x}"
    if (desc.min_time, desc.max_time) != (facts.min_time, facts.max_time):
        return (
            f"the descriptor spans {desc.min_time} to {desc.max_time}, the events {facts.min_time} to {facts.max_time}"
        )
    return ""
