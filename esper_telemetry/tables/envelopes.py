"""Frames to arrays of envelopes: several at once, because concatenated protobuf is merged protobuf.

Measured with ptars on a million events: 1, 4, 16 and 64 frames of 256 KiB at once take 4.8, 2.3, 1.5 and 1.4 CPU
seconds and 139, 153, 166 and 227 MiB, so batches hold 4 MiB. Without ptars the envelopes are parsed one by one.
Blocks of events are no envelopes: those that are wanted are read as arrays (`blockarrays`), the others not at all.
"""

from __future__ import annotations

from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.block_columns import BlockColumns
from esper_telemetry.recordfile.frame_events import frame_content
from esper_telemetry.recordfile.frame_messages import BLOCKS, envelopes_descriptor, frame_class
from esper_telemetry.recordfile.reader import unreadable_frame
from esper_telemetry.schema.event_block import MAX_CELLS
from esper_telemetry.tables.payloads import whole_decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from esper_telemetry.decode import Origin
    from esper_telemetry.recordfile import FrameRef
    from esper_telemetry.tables.blockarrays import BlockArrays

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


class DecodedFrames(NamedTuple):
    """The events of some frames.

    Attributes:
        events: those that came one by one, and those of blocks that were not read as arrays, in order.
        blocks: position of the frame among those decoded, type id and events of each block that was.
        whole: the frames that could be read.
    """

    events: Envelopes
    blocks: list[tuple[int, int, BlockArrays]]
    whole: Sequence[RawFrame]


class _Split(NamedTuple):
    """A frame, its blocks as far as they are wanted, and how many events came one by one."""

    frame: RawFrame
    arrays: list[tuple[int, BlockArrays]]
    others: list[BlockColumns]
    single: int


def decode_frames(
    frames: Sequence[RawFrame],
    unreadable: Callable[[RawFrame, CorruptRecordError], None],
    read_block: Callable[[Home, Any], BlockArrays | BlockColumns | None],
    *,
    fast: bool = True,
) -> DecodedFrames:
    """Return the events of frames, held against the descriptors of these.

    Args:
        frames: the frames.
        unreadable: called with each frame that holds no events, or others than its descriptor states; it may raise.
        read_block: returns the events of a parsed block, as arrays where that is worth it; None if none is wanted.
        fast: use ptars where it is installed.
    """
    splits: list[_Split] = []
    for frame in frames:
        with _Reporting(frame, unreadable):
            splits.append(_split(frame, read_block))
    single = _at_once(splits) if fast else None
    if single is None:
        single, splits = _one_by_one(splits, unreadable)
    counts = [split.single for split in splits]
    parts = [Envelopes(*single, _spread(range(len(splits)), counts, pa.int32()))]
    parts += [_of_block(at, block) for at, split in enumerate(splits) for block in split.others]
    blocks = [(at, *block) for at, split in enumerate(splits) for block in split.arrays]
    return DecodedFrames(_in_order(parts), blocks, [split.frame for split in splits])


class _Reporting:
    """Hands what is wrong with a frame on, with its place."""

    def __init__(self, frame: RawFrame, unreadable: Callable[[RawFrame, CorruptRecordError], None]) -> None:
        self._frame = frame
        self._unreadable = unreadable

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if not isinstance(error, CorruptRecordError):
            return False
        frame = self._frame
        self._unreadable(frame, unreadable_frame(frame.home.origin.path, frame.ref, error.reason))
        return True


def _split(frame: RawFrame, read_block: Callable[[Home, Any], BlockArrays | BlockColumns | None]) -> _Split:
    try:
        content = frame_class(BLOCKS).FromString(frame.raw)
    except DecodeError as error:
        raise CorruptRecordError(f"the frame holds no events: {error}") from None
    blocks, ref = content.block, frame.ref
    single = ref.records - sum(len(block.seq_steps) for block in blocks)
    if content.header or single < 0:
        raise CorruptRecordError(f"the frame holds a header, or more than the {ref.records:,} events that are stated")
    cells = sum(len(block.seq_steps) * (len(block.context) + len(block.columns)) for block in blocks)
    if cells > MAX_CELLS:
        raise CorruptRecordError(f"the blocks of the frame state {cells:,} values; the limit is {MAX_CELLS:,}")
    split = _Split(frame, [], [], single)
    for block in blocks:
        found = read_block(frame.home, block)
        if isinstance(found, BlockColumns):
            split.others.append(found)
            _check_range(ref, found.seqs[0], found.seqs[-1])
        elif found is not None:
            split.arrays.append((block.type_id, found))
            _check_range(ref, found.seq[0].as_py(), found.seq[-1].as_py())
    return split


def _check_range(ref: FrameRef, first_seq: int, last_seq: int) -> None:
    if first_seq < ref.first_seq or last_seq > ref.last_seq:
        raise CorruptRecordError(
            f"a block of the frame holds sequence numbers {first_seq:,} to {last_seq:,}, its descriptor states"
            f" {ref.first_seq:,} to {ref.last_seq:,}"
        )


def _in_order(parts: Sequence[Envelopes]) -> Envelopes:
    if len(parts) == 1:
        return parts[0]
    whole = Envelopes(*map(pa.concat_arrays, zip(*parts, strict=True)))
    return Envelopes(*(column.take(in_order(whole.frame, whole.seq)) for column in whole))


def in_order(frame: pa.Array, seq: pa.Array) -> pa.Array:
    """Return the places of events in the order of their frames and numbers."""
    by_both = pa.table({"frame": frame, "seq": seq})
    return pc.sort_indices(by_both, sort_keys=[("frame", "ascending"), ("seq", "ascending")])


def _of_block(number: int, block: BlockColumns) -> Envelopes:
    """Return the events of a block that was not read as arrays."""
    fixed = [block.type_id] * len(block), block.times, block.seqs
    values = [*fixed, block.serialized_contexts(), block.serialized_payloads()]
    columns = [pa.array(column, kind) for column, kind in zip(values, _KINDS, strict=True)]
    return Envelopes(*columns, pa.repeat(pa.scalar(number, pa.int32()), len(block)))


def _one_by_one(
    splits: Sequence[_Split], unreadable: Callable[[RawFrame, CorruptRecordError], None]
) -> tuple[list[pa.Array], list[_Split]]:
    """Return what came one by one, and the frames of it that are as their descriptors state."""
    columns: list[list[Any]] = [[] for _ in _KINDS]
    whole = []
    for split in splits:
        with _Reporting(split.frame, unreadable):
            found = frame_content(split.frame.raw, split.frame.ref).events
            for column, name in zip(columns, _NAMES, strict=True):
                column.extend(map(attrgetter(name), found))
            whole.append(split)
    return [pa.array(column, kind) for column, kind in zip(columns, _KINDS, strict=True)], whole


def _at_once(splits: Sequence[_Split]) -> list[pa.Array] | None:
    """Return what came one by one by one call of ptars; None where a frame is not as its descriptor states."""
    counts = [split.single for split in splits]
    if not any(counts):
        return [pa.array([], kind) for kind in _KINDS]
    decode = _frame_decoder()
    if decode is None:
        return None
    try:
        batch = decode(pa.array([b"".join(split.frame.raw for split in splits if split.single)], pa.binary()))
    except ValueError:
        return None
    events = batch.column("event").flatten()
    if len(events) != sum(counts) or len(batch.column("header").flatten()):
        return None
    fields = dict(zip((field.name for field in events.type), events.flatten(), strict=True))
    seq = fields["seq"]
    low = _spread([split.frame.ref.first_seq for split in splits], counts, pa.uint64())
    high = _spread([split.frame.ref.last_seq for split in splits], counts, pa.uint64())
    if not pc.all(pc.and_(pc.greater_equal(seq, low), pc.less_equal(seq, high)), min_count=0).as_py():
        return None
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
