"""What a collector takes: sizes and times of the protocol, and a rate that time is an argument of. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from esper_telemetry.recordfile.layout import DESCRIPTOR_BYTES, MAX_FRAME_BYTES, MAX_RAW_BYTES
from esper_telemetry.schema.descriptors import MAX_DESCRIPTOR_BYTES
from esper_telemetry.v1 import collector_pb2

PROTOCOL = 1

# A gRPC message holds one frame or one schema, and a little around it. What is longer kills the stream inside gRPC.
MESSAGE_SLACK = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes in bytes, times in seconds.

    Attributes:
        frame_bytes: a Batch's payload.
        raw_bytes: its frame decompressed.
        window_bytes: payload of one stream on its way to the disk.
        window_frames: frames of one stream on their way to the disk.
        hello_bytes: a Hello.
        schema_bytes: a Schema.
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
        """Return what a Welcome says."""
        return collector_pb2.StreamLimits(
            frame_bytes=self.frame_bytes,
            raw_bytes=self.raw_bytes,
            window_bytes=self.window_bytes,
            window_frames=self.window_frames,
            schema_bytes=self.schema_bytes,
        )


class TokenBucket:
    """A rate with a burst of one second. What is taken beyond it is a debt, which is waited for before the next.

    Args:
        rate: units a second; 0 means no limit.

    Attributes:
        rate: as given; it may be changed.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._level = rate
        self._at: float | None = None

    def take(self, amount: float, now: float) -> float:
        """Take `amount` at `now` (seconds of any steady clock); return how long to wait before the next, seconds."""
        debt = self.debt(now)
        if not self.rate:
            return 0.0
        self._level -= amount
        return max(debt, -self._level / self.rate)

    def debt(self, now: float) -> float:
        """Return how long what was taken is still to be waited for, seconds."""
        if not self.rate:
            return 0.0
        if self._at is not None:
            self._level = min(self.rate, self._level + (now - self._at) * self.rate)
        self._at = now
        return max(0.0, -self._level / self.rate)
