"""Frames to arrays of envelopes: several at once, because concatenated protobuf is merged protobuf.

Measured with ptars on a million events: 1, 4, 16 and 64 frames of 256 KiB at once take 4.8, 2.3, 1.5 and 1.4 CPU
seconds and 139, 153, 166 and 227 MiB, so batches hold 4 MiB. Without ptars the envelopes are parsed one by one.
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.frame_events import event_columns
from esper_telemetry.recordfile.frame_messages import envelopes_descriptor
from esper_telemetry.recordfile.reader import unreadable_frame
from esper_telemetry.tables.payloads import whole_decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from esper_telemetry.decode import Origin
    from esper_telemetry.recordfile import FrameRef

BATCH_BYTES = 4 << 20
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


def decode_frames(
    frames: Sequence[RawFrame], unreadable: Callable[[RawFrame, CorruptRecordError], None], *, fast: bool = True
) -> tuple[Envelopes, Sequence[RawFrame]]:
    """Return the events of frames, held against the descriptors of these, and the frames that could be read.

    Args:
        frames: the frames.
        unreadable: called with each frame that holds no events, or others than its descriptor states; it may raise.
        fast: use ptars where it is installed.
    """
    if fast and (found := _at_once(frames)) is not None:
        return found, frames
    parsed, whole = [], []
    for frame in frames:
        try:
            parsed.append(event_columns(frame.raw, frame.ref))
            whole.append(frame)
        except CorruptRecordError as error:
            unreadable(frame, unreadable_frame(frame.home.origin.path, frame.ref, error.reason))
    each = zip(*parsed, strict=True) if parsed else ((),) * len(_KINDS)
    columns = [pa.array(list(chain.from_iterable(parts)), kind) for parts, kind in zip(each, _KINDS, strict=True)]
    columns.append(_spread(range(len(whole)), [len(events.seqs) for events in parsed], pa.int32()))
    return Envelopes(*columns), whole


def _at_once(frames: Sequence[RawFrame]) -> Envelopes | None:
    """Return the events of frames by one call of ptars; None where one of them is not as its descriptor states."""
    decode = _frame_decoder()
    if decode is None:
        return None
    try:
        batch = decode(pa.array([b"".join(frame.raw for frame in frames)], pa.binary()))
    except ValueError:
        return None
    events = batch.column("event").flatten()
    counts = [frame.ref.records for frame in frames]
    if len(events) != sum(counts) or len(batch.column("header").flatten()):
        return None
    fields = dict(zip((field.name for field in events.type), events.flatten(), strict=True))
    seq = fields["seq"]
    low = _spread([frame.ref.first_seq for frame in frames], counts, pa.uint64())
    high = _spread([frame.ref.last_seq for frame in frames], counts, pa.uint64())
    if not pc.all(pc.and_(pc.greater_equal(seq, low), pc.less_equal(seq, high)), min_count=0).as_py():
        return None
    columns = [*(fields[name] for name in _NAMES), _spread(range(len(frames)), counts, pa.int32())]
    return Envelopes(*columns)


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
