"""The sizes and times of the protocol that a collector grants. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from esper_telemetry.recordfile.layout import DESCRIPTOR_BYTES, MAX_FRAME_BYTES, MAX_RAW_BYTES
from esper_telemetry.schema.descriptors import MAX_DESCRIPTOR_BYTES
from esper_telemetry.v1 import collector_pb2

# A gRPC message holds one frame or one schema, and a little around it. What is longer kills the stream inside gRPC.
MESSAGE_SLACK = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorLimits:
    """Sizes in bytes, times in seconds.

    Attributes:
        frame_bytes: a Batch's payload.
        raw_bytes: its frame decompressed.
        window_bytes: payload of one stream on its way to the disk.
        window_frames: frames of one stream on their way to the disk.
        hello_bytes: a Hello.
        schema_bytes: a Schema.
        batches_bytes: payload of the frames in one Batches; 0 takes each frame in a Batch only.
        hello_s: time for the Hello.
        heartbeat_s: a peer speaks at least so often; it is dead after three times that.
        ack_frames: an ack is due after so many frames.
        ack_s: and after so long.
        streams: streams at once.
        readers: live readers at once.
        queue_bytes: payload of all streams on its way to the disk.
        header_bytes: a Schema's header without its descriptors; it stays in memory while the stream is open.
        descriptors_bytes: different descriptors of all open streams together.
        labels_bytes: labels of a producer that are kept and shown.
        epoch_step: by so much a session_epoch may pass the one before: more is no count of connects.
        watches: calls at once of services that ask for no token (health, reflection).
        page_bytes: an answer of ListRuns.
    """

    frame_bytes: int = MAX_FRAME_BYTES + DESCRIPTOR_BYTES
    raw_bytes: int = MAX_RAW_BYTES
    window_bytes: int = 8 << 20
    window_frames: int = 64
    hello_bytes: int = 64 * 1024
    schema_bytes: int = MAX_DESCRIPTOR_BYTES + MESSAGE_SLACK // 2
    batches_bytes: int = 256 << 10
    hello_s: float = 5.0
    heartbeat_s: float = 10.0
    ack_frames: int = 8
    ack_s: float = 0.05
    streams: int = 4096
    readers: int = 64
    queue_bytes: int = 256 << 20
    header_bytes: int = 64 * 1024
    descriptors_bytes: int = 128 << 20
    labels_bytes: int = 4096
    epoch_step: int = 1 << 32
    watches: int = 64
    page_bytes: int = 1 << 20

    @property
    def dead_s(self) -> float:
        """Silence after which a peer is dead."""
        return 3 * self.heartbeat_s

    @property
    def message_bytes(self) -> int:
        """Longest gRPC message that can be of use."""
        return max(self.frame_bytes, self.schema_bytes) + MESSAGE_SLACK

    def to_proto(self) -> collector_pb2.StreamLimits:
        """Return the limits as a Welcome carries them."""
        return collector_pb2.StreamLimits(
            frame_bytes=self.frame_bytes,
            raw_bytes=self.raw_bytes,
            window_bytes=self.window_bytes,
            window_frames=self.window_frames,
            schema_bytes=self.schema_bytes,
            batches_bytes=self.batches_bytes,
        )
