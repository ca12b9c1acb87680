"""What a session deals in: where frames come from, what a collector takes, and a tally of what was done."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from esper_telemetry.recordfile.layout import DESCRIPTOR_BYTES, MAX_FRAME_BYTES, MAX_RAW_BYTES
from esper_telemetry.v1 import collector_pb2

if TYPE_CHECKING:
    from esper_telemetry.recordfile.layout import Skip
    from esper_telemetry.uplink.frames import Frame
    from esper_telemetry.uplink.schema import StreamSchema
    from esper_telemetry.v1 import record_pb2


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
class Limits:
    """What the collector takes, in bytes and frames; the defaults are the protocol's own."""

    frame_bytes: int = MAX_FRAME_BYTES + DESCRIPTOR_BYTES
    raw_bytes: int = MAX_RAW_BYTES
    window_bytes: int = 8 << 20
    window_frames: int = 64
    schema_bytes: int = 1 << 20

    @classmethod
    def of(cls, said: collector_pb2.StreamLimits) -> Limits:
        """Return the limits a Welcome names; what it leaves out is as in the protocol."""
        return cls(**{item.name: value for item, value in said.ListFields()})


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


def batch_message(frame: Frame) -> collector_pb2.ClientMessage:
    """Return the message that carries a frame; its numbers repeat what the descriptor says."""
    desc = frame.descriptor
    message = collector_pb2.ClientMessage()
    batch = message.batch  # filled in place: a Batch given to the constructor would be copied, payload and all
    batch.first_seq = desc.first_seq
    batch.last_seq = desc.last_seq
    batch.count = desc.records
    batch.raw_len = desc.raw_size
    batch.crc32 = zlib.crc32(frame.payload)
    batch.codec = collector_pb2.CODEC_ZSTD
    batch.payload = frame.payload
    return message


def skip_message(skip: Skip) -> collector_pb2.Skip:
    """Return the message for a range that cannot be sent."""
    message = collector_pb2.Skip(first_seq=skip.first_seq, last_seq=skip.last_seq)
    message.reason = skip.reason  # type: ignore[assignment]  # a number of the enum
    return message
