"""How fast a backlog is sent: at most four times as fast as it was written, so that it starves no live stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.wire import TokenBucket

if TYPE_CHECKING:
    from esper_telemetry.recordfile.layout import Descriptor

REPLAY_FACTOR = 4.0
# Slow producers catch up at this rate all the same: 8 MiB/s is a tenth of what one collector core stores.
FLOOR_BYTES_PER_S = 8 << 20


class BacklogRate:
    """A token bucket whose rate follows the rate at which the frames were written.

    Args:
        factor: times the writer's own rate.
        floor: bytes a second that are always allowed.
    """

    def __init__(self, factor: float = REPLAY_FACTOR, floor: float = FLOOR_BYTES_PER_S) -> None:
        self._factor = factor
        self._floor = floor
        self._bucket = TokenBucket(floor)
        self._bytes = 0
        self._since = self._until = 0

    def pause(self, now: float) -> float:
        """Return the seconds to wait before the next frame; `now` is monotonic time in seconds."""
        return self._bucket.debt(now)

    def sent(self, now: float, frame: Descriptor, size: int) -> None:
        """Count a frame of `size` bytes that was sent at `now`; its times give the rate at which it was written."""
        self._bytes += size
        self._since = min(self._since or frame.min_time, frame.min_time)
        self._until = max(self._until, frame.max_time)
        written_s = (self._until - self._since) * 1e-9
        live = self._bytes / written_s if written_s > 0 else 0.0
        self._bucket.rate = max(self._floor, self._factor * live)
        self._bucket.take(size, now)
