"""Frames to arrays of envelopes: several at once, because concatenated protobuf is merged protobuf.

Measured with ptars on a million events: 1, 4, 16 and 64 frames of 256 KiB at once take 4.8, 2.3, 1.5 and 1.4 CPU
seconds and 139, 153, 166 and 227 MiB, so batches hold 4 MiB. Without ptars the envelopes are parsed one by one.
Blocks of events are no envelopes: those that are wanted are read as arrays (`blockarrays`), the others not at all.
"""

from __future__ import annotations

from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.block_columns import block_columns, type_of_block
from esper_telemetry.recordfile.frame_events import frame_content
from esper_telemetry.recordfile.frame_messages import ELEMENTS, SINGLE, envelopes_descriptor, frame_class
from esper_telemetry.recordfile.reader import unreadable_frame
from esper_telemetry.schema.event_block import MAX_CELLS
from esper_telemetry.tables.blockarrays import block_arrays
from esper_telemetry.tables.payloads import whole_decoder
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from esper_telemetry.decode import Origin
    from esper_telemetry.recordfile import FrameRef
    from esper_telemetry.recordfile.block_columns import BlockColumns
    from esper_telemetry.tables.blockarrays import BlockArrays, BlockShape

BATCH_BYTES = 4 << 20
# Events that came by column take a quarter of the bytes, and as much as any other as arrays.
BATCH_EVENTS = 1 << 16
# Of Event in record.proto; the context stays bytes, as few different ones come over and over.
_NAMES = ("type_id", "time_unix_nano", "seq", "context", "payload")
_KINDS = (pa.uint32(), pa.uint64(), pa.uint64(), pa.binary(), pa.binary())


class Home(NamedTuple):
    """The segment that a frame is in.

    Attributes:
        origin: its run, stream, rank, attempt and schema.
        types: full name of the message by type id.
        key: equal for segments whose frames may be decoded together.
    """

    origin: Origin
    types: Mapping[int, str]
    key: tuple[int, frozenset[tuple[int, str]]]


class RawFrame(NamedTuple):
    """A frame that was read.

    Attributes:
        raw: its decompressed bytes.
        ref: where it is and what its descriptor states.
        home: its segment.
        above: events up to this number were given before, from a copy of the file.
        last: number and row of the last event that is wanted of its stream; None: all.
    """

    raw: bytes
    ref: FrameRef
    home: Home
    above: int = 0
    last: tuple[int, int] | None = None


class Envelopes(NamedTuple):
    """The events of some frames, a row for each.

    Attributes:
        type_id: number in the type table.
        time: wall clock, nanoseconds since 1970 UTC.
        seq: number in the stream.
        context: the serialized Context.
        payload: the serialized message.
        frame: position of the frame among those decoded.
    """

    type_id: pa.Array
    time: pa.Array
    seq: pa.Array
    context: pa.Array
    payload: pa.Array
    frame: pa.Array

    def filter(self, mask: pa.Array) -> Envelopes:
        """Return the events for which `mask` is true."""
        return Envelopes(*(column.filter(mask) for column in self))


class Blocks(NamedTuple):
    """Blocks of some frames with the same fields set, as one.

    Attributes:
        type_id: number in the type table.
        frame: position of the frame among those decoded, of each event.
        arrays: their events, in the order of frames and numbers.
    """

    type_id: int
    frame: pa.Array
    arrays: BlockArrays


class DecodedFrames(NamedTuple):
    """The events of some frames.

    Attributes:
        events: those that came one by one, and those of blocks that were not read as arrays, in order.
        blocks: those of blocks that were.
        whole: the frames that could be read.
    """

    events: Envelopes
    blocks: list[Blocks]
    whole: Sequence[RawFrame]


class Wanted(Protocol):
    """Which blocks are wanted, and how."""

    def shape(self, home: Home, block: Any) -> BlockShape | None:
        """Return what a parsed block is read as arrays with; None where it is read as events."""

    def wants_block(self, home: Home, type_id: int) -> bool:
        """Tell whether the events of a block of such a type are wanted."""


def decode_frames(
    frames: Sequence[RawFrame],
    unreadable: Callable[[RawFrame, CorruptRecordError], None],
    wanted: Wanted,
    *,
    fast: bool = True,
) -> DecodedFrames:
    """Return the events of frames, held against the descriptors of these.

    Args:
        frames: the frames.
        unreadable: called with each frame that holds no events, or others than its descriptor states; it may raise.
        wanted: which blocks are wanted, and which of them as arrays.
        fast: use ptars where it is installed.
    """
    try:
        return _decoded([_split(frame, wanted, by_column=True) for frame in frames], fast=fast)
    except CorruptRecordError:
        whole = []
        for frame in frames:
            try:
                frame_content(frame.raw, frame.ref)
            except CorruptRecordError as error:
                unreadable(frame, unreadable_frame(frame.home.origin.path, frame.ref, error.reason))
            else:
                whole.append(frame)
        return _decoded([_split(frame, wanted, by_column=False) for frame in whole], fast=False)


class _Split(NamedTuple):
    """A frame, its blocks as far as they are wanted, and how many events came one by one."""

    frame: RawFrame
    shaped: list[tuple[BlockShape, Any]]
    others: list[BlockColumns]
    single: int


def _split(frame: RawFrame, wanted: Wanted, *, by_column: bool) -> _Split:
    """Return what is wanted of a frame. Blocks of other types are not looked into; a checksum covers them."""
    shaped, others = [], []
    records = cells = 0
    try:
        content = frame_class(ELEMENTS).FromString(frame.raw)
        for serialized in content.block:
            type_id = type_of_block(serialized)
            if type_id and not wanted.wants_block(frame.home, type_id):
                continue
            block = record_pb2.EventBlock.FromString(serialized)
            events = block.events
            records += events
            cells += events * (len(block.context) + len(block.columns))
            shape = wanted.shape(frame.home, block) if by_column else None
            if shape is not None:
                shaped.append((shape, block))
            else:
                others.append(block_columns(block))
    except DecodeError as error:
        raise CorruptRecordError(f"the frame holds no events: {error}") from None
    single, stated = len(content.event), frame.ref.records
    counted = len(content.block) == len(shaped) + len(others)
    if content.header or single + records > stated or (counted and single + records != stated) or cells > MAX_CELLS:
        raise CorruptRecordError("the frame holds a header, other events than are stated, or too many values")
    return _Split(frame, shaped, others, single)


def _decoded(splits: Sequence[_Split], *, fast: bool) -> DecodedFrames:
    counts = [split.single for split in splits]
    single = _at_once(splits) if fast else None
    if single is None:
        single = _one_by_one(splits)
    parts = [Envelopes._make([*single, _spread(range(len(splits)), counts, pa.int32())])]
    parts += [_of_block(at, block) for at, split in enumerate(splits) for block in split.others]
    for part in parts:
        _check_range(splits, part.frame, part.seq)
    shaped: dict[int, tuple[BlockShape, list[int], list[Any]]] = {}
    for at, split in enumerate(splits):
        for shape, block in split.shaped:
            known = shaped.setdefault(id(shape), (shape, [], []))
            known[1].append(at)
            known[2].append(block)
    blocks = []
    for shape, numbers, several in shaped.values():
        arrays = block_arrays(several, shape)
        frame = _spread(numbers, [block.events for block in several], pa.int32())
        _check_range(splits, frame, arrays.seq)
        blocks.append(Blocks(shape.type_id, frame, arrays))
    return DecodedFrames(_in_order(parts), blocks, [split.frame for split in splits])


def _check_range(splits: Sequence[_Split], frame: pa.Array, seq: pa.Array) -> None:
    low = pa.array([split.frame.ref.first_seq for split in splits], pa.uint64()).take(frame)
    high = pa.array([split.frame.ref.last_seq for split in splits], pa.uint64()).take(frame)
    if not pc.all(pc.and_(pc.greater_equal(seq, low), pc.less_equal(seq, high)), min_count=0).as_py():
        raise CorruptRecordError("a frame holds other sequence numbers than its descriptor states")


def _in_order(parts: Sequence[Envelopes]) -> Envelopes:
    if len(parts) == 1:
        return parts[0]
    whole = Envelopes(*map(pa.concat_arrays, zip(*parts, strict=True)))
    places = in_order(whole.frame, whole.seq)
    return Envelopes(*(column.take(places) for column in whole))


def in_order(frame: pa.Array, seq: pa.Array) -> pa.Array:
    """Return the places of events in the order of their frames and numbers."""
    by_both = pa.table({"frame": frame, "seq": seq})
    return pc.sort_indices(by_both, sort_keys=[("frame", "ascending"), ("seq", "ascending")])


def _of_block(number: int, block: BlockColumns) -> Envelopes:
    """Return the events of a block that was not read as arrays."""
    fixed = [block.type_id] * len(block), block.times, block.seqs
    values = [*fixed, block.serialized_contexts(), block.serialized_payloads()]
    columns = [pa.array(column, kind) for column, kind in zip(values, _KINDS, strict=True)]
    return Envelopes._make([*columns, pa.repeat(pa.scalar(number, pa.int32()), len(block))])


def _one_by_one(splits: Sequence[_Split]) -> list[pa.Array]:
    """Return what came one by one."""
    columns: list[list[Any]] = [[] for _ in _KINDS]
    for split in splits:
        found = frame_class(SINGLE).FromString(split.frame.raw).event if split.single else ()
        if len(found) != split.single:
            raise CorruptRecordError("a frame holds another number of events than its descriptor states")
        for column, name in zip(columns, _NAMES, strict=True):
            column.extend(map(attrgetter(name), found))
    return [pa.array(column, kind) for column, kind in zip(columns, _KINDS, strict=True)]


def _at_once(splits: Sequence[_Split]) -> list[pa.Array] | None:
    """Return what came one by one by one call of ptars; None where that is not installed."""
    counts = [split.single for split in splits]
    if not any(counts):
        return [pa.array([], kind) for kind in _KINDS]
    decode = _frame_decoder()
    if decode is None:
        return None
    try:
        batch = decode(pa.array([b"".join(split.frame.raw for split in splits if split.single)], pa.binary()))
    except ValueError as error:
        raise CorruptRecordError(f"a frame holds no events: {error}") from None
    events = batch.column("event").flatten()
    if len(events) != sum(counts):
        raise CorruptRecordError("a frame holds another number of events than its descriptor states")
    fields = dict(zip((field.name for field in events.type), events.flatten(), strict=True))
    return [fields[name] for name in _NAMES]


def _spread(values: Sequence[Any], counts: Sequence[int], kind: pa.DataType) -> pa.Array:
    """Return each value as often as its count states."""
    ends, end, kept = [], 0, []
    for value, count in zip(values, counts, strict=True):
        if count:
            end += count
            ends.append(end)
            kept.append(value)
    if not ends:
        return pa.array([], kind)
    return pc.run_end_decode(pa.RunEndEncodedArray.from_arrays(pa.array(ends, pa.int32()), pa.array(kept, kind)))


@cache
def _frame_decoder() -> Any:
    """Return the decoder of frames; None without ptars."""
    return whole_decoder(envelopes_descriptor())
