"""The terms of a session: where frames come from, what a collector takes, the messages, and a tally of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from esper_telemetry.recordfile.frame import crc32
from esper_telemetry.recordfile.layout import DESCRIPTOR_BYTES, MAX_FRAME_BYTES, MAX_RAW_BYTES
from esper_telemetry.schema.envelope import encode_varint
from esper_telemetry.v1 import collector_pb2

if TYPE_CHECKING:
    from esper_telemetry.recordfile.layout import Skip
    from esper_telemetry.uplink.segment_frames import Frame, StreamSchema
    from esper_telemetry.v1 import record_pb2

# Tags of ClientMessage.batch, ClientMessage.batches, Batches.batches and Batch.payload, from collector.proto.
_BATCH_TAG = b"\x12"
_BATCHES_TAG = b"\x3a"
_EACH_TAG = b"\x0a"
_PAYLOAD_TAG = b"\x42"


class FrameSource(Protocol):
    """Where the frames come from: a Spool, or a test's list."""

    @property
    def header(self) -> record_pb2.Header:
        """Who the producer is."""

    @property
    def outcome(self) -> int | None:
        """A CloseOutcome once nothing more will come, else None."""

    @property
    def first_seq(self) -> int:
        """First number there still is."""

    @property
    def final_seq(self) -> int:
        """Last number read; the producer's last one once `outcome` is set."""

    @property
    def schema(self) -> StreamSchema:
        """The schema at the present place."""

    def seek(self, seq: int) -> None:
        """Go to number `seq`."""

    def read(self) -> Frame | Skip | None:
        """Return what comes next, contiguous; None when there is nothing yet, or no more."""


@dataclass(slots=True)
class WelcomeLimits:
    """What the collector takes, in bytes and frames; the defaults are the protocol's own."""

    frame_bytes: int = MAX_FRAME_BYTES + DESCRIPTOR_BYTES
    raw_bytes: int = MAX_RAW_BYTES
    window_bytes: int = 8 << 20
    window_frames: int = 64
    schema_bytes: int = 1 << 20
    batches_bytes: int = 0

    @classmethod
    def of(cls, stated: collector_pb2.StreamLimits) -> WelcomeLimits:
        """Return the limits a Welcome names; what it leaves out is as in the protocol."""
        return cls(**{item.name: value for item, value in stated.ListFields()})


@dataclass(slots=True)
class Tally:
    """What a session has done.

    Attributes:
        connects: streams opened.
        frames: batches sent, repeated ones included.
        bytes: bytes of their payloads.
        repeated: batches sent again.
        duplicates: batches that the collector had already.
        skipped: (first, last) → SkipReason of every range that cannot be sent.
    """

    connects: int = 0
    frames: int = 0
    bytes: int = 0
    repeated: int = 0
    duplicates: int = 0
    skipped: dict[tuple[int, int], int] = field(default_factory=dict)


class BatchMessage(NamedTuple):
    """A frame to be sent. Its payload stays beside the message: set as a field it would be copied twice on its way.

    Attributes:
        batch: all but the payload; its numbers repeat those of the descriptor.
        payload: the frame and its descriptor.
    """

    batch: collector_pb2.Batch
    payload: memoryview


class BatchesMessage(NamedTuple):
    """Frames to be sent in one message.

    Attributes:
        batches: in order, at least one.
    """

    batches: list[BatchMessage]


def batch_message(frame: Frame) -> BatchMessage:
    """Return the message that carries a frame."""
    desc = frame.descriptor
    batch = collector_pb2.Batch(
        first_seq=desc.first_seq,
        last_seq=desc.last_seq,
        count=desc.records,
        raw_len=desc.raw_size,
        crc32=crc32(frame.payload),
        codec=collector_pb2.CODEC_ZSTD,
    )
    return BatchMessage(batch, frame.payload)


def skip_message(skip: Skip) -> collector_pb2.Skip:
    """Return the message for a range that cannot be sent."""
    message = collector_pb2.Skip(first_seq=skip.first_seq, last_seq=skip.last_seq)
    message.reason = skip.reason  # type: ignore[assignment]  # a number of the enum
    return message


def wire_bytes(message: collector_pb2.ClientMessage | BatchMessage | BatchesMessage) -> bytes:
    """Return the ClientMessage that goes on the wire, serialized.

    Those of frames are joined by hand, 0.04 ms cheaper for one of 256 KiB; a test holds them against protobuf's.
    """
    if isinstance(message, BatchMessage):
        return b"".join(_field(_BATCH_TAG, message))
    if isinstance(message, BatchesMessage):
        parts = [part for batch in message.batches for part in _field(_EACH_TAG, batch)]
        return b"".join((_BATCHES_TAG, encode_varint(sum(map(len, parts))), *parts))
    return message.SerializeToString()


def _field(tag: bytes, message: BatchMessage) -> tuple[bytes | memoryview, ...]:
    """Return the parts of a field with `tag` that holds a whole Batch."""
    fields = message.batch.SerializeToString()
    length = _PAYLOAD_TAG + encode_varint(len(message.payload))
    size = len(fields) + len(length) + len(message.payload)
    return tag, encode_varint(size), fields, length, message.payload
