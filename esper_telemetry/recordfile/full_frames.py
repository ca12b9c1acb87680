"""Puts the events of many small frames into few full ones, by column.

A frame becomes groups of events (`event_groups`): its blocks as they are, its single events by the descriptors of the
file that they are in, never by guess. Groups of frames that follow each other become one frame, as large as a frame may
be. What columns would not give back byte for byte stays as it was: a payload stays a payload, and a frame with anything
that is not understood is placed as it came.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.message import DecodeError

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.frame_events import frame_content
from esper_telemetry.recordfile.frame_messages import ENVELOPES, frame_class
from esper_telemetry.recordfile.index import FrameRanges, mask_of
from esper_telemetry.recordfile.layout import Descriptor
from esper_telemetry.schema.batch import MAX_BATCH_BYTES
from esper_telemetry.schema.event_block import MAX_CELLS, Field
from esper_telemetry.schema.frame_builder import EventGroup, build_frame, exact_row
from esper_telemetry.v1 import context_pb2, record_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from google.protobuf.message import Message

    from esper_telemetry.recordfile.block_columns import BlockColumns
    from esper_telemetry.recordfile.column_values import ColumnValues
    from esper_telemetry.recordfile.frame_events import Described, Envelope, FrameContent
    from esper_telemetry.recordfile.writer import RecordBuilder
    from esper_telemetry.schema.descriptors import SchemaPool

    Row = tuple[tuple[Field, ...], tuple[Any, ...]]

_CONTEXT = context_pb2.Context.DESCRIPTOR.full_name
# A reader makes an object for each event of a frame that it wants one of, and columns of up to MAX_CELLS values.
MOST_EVENTS = 1 << 15
_MOST_CELLS = MAX_CELLS // 2
# What a frame takes is known when it is made. It is aimed a little lower, for a second try costs as much as the first.
_AIM = 7 * MAX_BATCH_BYTES // 8
_MARGIN = 1.05


class Messages:
    """The message classes of one segment, made of its own descriptors.

    Args:
        pool: its descriptors.
        types: full message name by type id.
    """

    def __init__(self, pool: SchemaPool, types: Mapping[int, str]) -> None:
        self.classes = {number: cls for number, name in types.items() if (cls := _class(pool, name)) is not None}
        self._context = _class(pool, _CONTEXT) or context_pb2.Context
        self._contexts: dict[bytes, Row | None] = {}

    def context_row(self, context: bytes) -> Row | None:
        """Return fields and values of a serialized Context; None where they would not give it back."""
        if context not in self._contexts:
            if len(self._contexts) >= MOST_EVENTS:
                self._contexts.clear()
            self._contexts[context] = _exact(self._context, context)
        return self._contexts[context]


def _class(pool: SchemaPool, name: str) -> type[Message] | None:
    try:
        return pool.message_class(name)
    except CorruptRecordError:
        return None


def _exact(cls: type[Message] | None, serialized: bytes) -> Row | None:
    """Return fields and values of a message if they give it back byte for byte, else None."""
    if cls is None:
        return None
    try:
        return exact_row(cls.FromString(serialized), serialized)
    except DecodeError:
        return None


def event_groups(raw: bytes, desc: Described, messages: Messages, first_seq: int = 0) -> list[EventGroup] | None:
    """Return the events of a frame by type and set fields; None where these are not all that it holds.

    Args:
        raw: the frame, decompressed.
        desc: its descriptor.
        messages: the classes of its segment.
        first_seq: events before it are left out.

    Raises:
        CorruptRecordError: it holds no events, or other ones than its descriptor states.
    """
    return groups_of(frame_content(raw, desc), raw, messages, first_seq)


def groups_of(content: FrameContent, raw: bytes, messages: Messages, first_seq: int = 0) -> list[EventGroup] | None:
    """Return the same as `event_groups` of a frame that was parsed.

    Args:
        content: its events.
        raw: the frame, decompressed.
        messages: the classes of its segment.
        first_seq: events before it are left out.
    """
    frame = frame_class(ENVELOPES).FromString(raw)
    if not (_is_known(frame, len(raw)) and all(_is_known(_BLOCK(one), len(one)) for one in frame.block)):
        return None  # of a later version, or of a writer that packs in another way
    rows = _Rows(messages)
    for event in content.events:
        if event.seq >= first_seq and not rows.add(event):
            return None
    groups = [*rows.groups(), *map(_group_of, content.blocks)]
    return [one for group in groups if (one := _from(group, first_seq)) is not None]


def _is_known(message: Message, size: int) -> bool:
    """Tell whether a message that was parsed of so many bytes has no field that this version does not know."""
    message.DiscardUnknownFields()
    return message.ByteSize() == size


_BLOCK = record_pb2.EventBlock.FromString


class _Rows:
    """Events that came one by one, by type and set fields."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._kinds: dict[Any, tuple[list[Any], ...]] = {}

    def add(self, event: Envelope) -> bool:
        context = self._messages.context_row(event.context)
        if context is None:
            return False
        payload = event.payload
        row = _exact(self._messages.classes.get(event.type_id), payload)
        fields, values = (None, (payload,)) if row is None else row
        kind = self._kinds.setdefault((event.type_id, context[0], fields), ([], [], [], []))
        for kept, value in zip(kind, (event.seq, event.time_unix_nano, context[1], values), strict=True):
            kept.append(value)
        return True

    def groups(self) -> list[EventGroup]:
        return [
            EventGroup(type_id, seqs, times, where, _columns(contexts), fields, _columns(rows))
            for (type_id, where, fields), (seqs, times, contexts, rows) in self._kinds.items()
        ]


def _columns(rows: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    return list(zip(*rows, strict=True))


def _group_of(block: BlockColumns) -> EventGroup:
    context, where = _values_of(block.context)
    if block.payloads is not None:
        return EventGroup(block.type_id, block.seqs, block.times, context, where, None, [block.payloads])
    fields, columns = _values_of(block.columns)
    return EventGroup(block.type_id, block.seqs, block.times, context, where, fields, columns)


def _values_of(columns: Mapping[int, ColumnValues]) -> tuple[tuple[Field, ...], list[Sequence[Any]]]:
    ordered = sorted(columns.values(), key=lambda one: one.field)
    fields = tuple(Field(one.field, one.type) for one in ordered)
    return fields, [[one.one()] if one.shared else one.values() for one in ordered]


def _from(group: EventGroup, first_seq: int) -> EventGroup | None:
    """Return what of a group begins at a sequence number; None where that is nothing."""
    count = len(group.seqs)
    start = bisect_left(group.seqs, first_seq)
    if not start:
        return group
    if start == count:
        return None

    def cut(columns: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
        return [one[start:] if len(one) == count else one for one in columns]

    return group._replace(
        seqs=group.seqs[start:], times=group.times[start:], context=cut(group.context), columns=cut(group.columns)
    )


class NewFrame(NamedTuple):
    """A frame that was made of groups.

    Attributes:
        data: the frame and its descriptor.
        desc: that descriptor, parsed.
        type_counts: events by type id.
        batch_range: smallest and largest Context.batch_idx; None where no event has one.
        step_range: the same of Context.step.
    """

    data: bytes
    desc: Descriptor
    type_counts: Counter[int]
    batch_range: tuple[int, int] | None
    step_range: tuple[int, int] | None


def new_frame(
    groups: Sequence[EventGroup], covered: tuple[int, int], encode: Callable[[bytes], bytes]
) -> NewFrame | None:
    """Return one frame of some events; None where they take more than a frame may.

    Args:
        groups: the events, at least one.
        covered: first and last sequence number that the frame covers; those of dropped events are among them.
        encode: compresses.
    """
    built = build_frame(groups)
    if len(built.raw) > MAX_BATCH_BYTES:
        return None
    frame = encode(built.raw)
    counts = type_counts_of(groups)
    desc = Descriptor(
        compressed_size=len(frame),
        raw_size=len(built.raw),
        records=counts.total(),
        type_mask=mask_of(counts),
        first_seq=covered[0],
        last_seq=covered[1],
        min_time=min(min(group.times) for group in groups),
        max_time=max(max(group.times) for group in groups),
    )
    return NewFrame(frame + layout.pack_descriptor(desc), desc, counts, built.batch_range, built.step_range)


def type_counts_of(groups: Iterable[EventGroup]) -> Counter[int]:
    """Return how many events of each type some groups hold."""
    counts: Counter[int] = Counter()
    for group in groups:
        counts[group.type_id] += len(group.seqs)
    return counts


class _Waiting(NamedTuple):
    """A frame that was read and is not placed yet."""

    data: Callable[[], bytes]
    desc: Descriptor
    groups: list[EventGroup]


class FullFrames:
    """Places the events of frames that follow each other, in full frames.

    Args:
        builder: where they are placed.
        encode: compresses.
    """

    def __init__(self, builder: RecordBuilder, encode: Callable[[bytes], bytes]) -> None:
        self._builder = builder
        self._encode = encode
        self._ratio = 1.0
        self._start_anew()

    def _start_anew(self) -> None:
        self._waiting: list[_Waiting] = []
        self._bytes = self._events = self._cells = 0

    def add(self, data: Callable[[], bytes], desc: Descriptor, groups: list[EventGroup]) -> None:
        """Take the events of the frame that follows.

        Args:
            data: returns the frame and its descriptor, as they are; called where there is no other way to place it.
            desc: that descriptor, parsed.
            groups: its events.
        """
        cells = sum(len(group.seqs) * (len(group.context) + len(group.columns)) for group in groups)
        full = (self._bytes + desc.raw_size) * self._ratio > _AIM
        if full or self._events + desc.records > MOST_EVENTS or self._cells + cells > _MOST_CELLS:
            self.flush()
        self._waiting.append(_Waiting(data, desc, groups))
        self._bytes += desc.raw_size
        self._events += desc.records
        self._cells += cells

    def copy(self, data: bytes, desc: Descriptor, type_counts: Mapping[int, int]) -> None:
        """Place the frame that follows as it is."""
        self.flush()
        self._builder.add_frame(data, desc, type_counts)

    def flush(self) -> None:
        """Place what waits: a skip marker or the end of the segment follows."""
        waiting = self._waiting
        self._start_anew()
        if waiting:
            self._place(waiting)

    def _place(self, waiting: list[_Waiting]) -> None:
        groups = list(chain.from_iterable(one.groups for one in waiting))
        first, last = waiting[0].desc, waiting[-1].desc
        made = new_frame(groups, (first.first_seq, last.last_seq), self._encode)
        if made is not None:
            self._ratio = min(1.0, _MARGIN * made.desc.raw_size / sum(one.desc.raw_size for one in waiting))
            self._builder.add_frame(
                made.data, made.desc, made.type_counts, FrameRanges(made.batch_range, made.step_range)
            )
        elif len(waiting) == 1:
            self._builder.add_frame(waiting[0].data(), first, type_counts_of(groups))
        else:
            half = len(waiting) // 2
            self._place(waiting[:half])
            self._place(waiting[half:])
