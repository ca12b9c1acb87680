"""Which events a reader wants: by type, time, number and environment.

Whole frames are judged by their descriptors, so frames not concerned are never
decompressed; payloads are never parsed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from esper_telemetry.recordfile.index import mask_of

if TYPE_CHECKING:
    from esper_telemetry.recordfile.index import FrameRef
    from esper_telemetry.v1 import record_pb2


@dataclass(frozen=True, slots=True)
class Selection:
    """A window on a record; None means no bound.

    Attributes:
        type_ids: ids of the types wanted. They hold for one segment: each has its own table.
        since_ns: earliest time, nanoseconds since 1970 UTC, inclusive.
        until_ns: latest time, exclusive.
        first_seq: first number, inclusive.
        last_seq: last number, inclusive.
        env_ids: environments wanted; events without an env_id are left out.
    """

    type_ids: frozenset[int] | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    first_seq: int | None = None
    last_seq: int | None = None
    env_ids: frozenset[int] | None = None

    def concerns(self, frame: FrameRef) -> bool:
        """Tell whether `frame` may hold an event that is wanted."""
        return (
            (self.type_ids is None or bool(frame.type_mask & mask_of(self.type_ids)))
            and (self.since_ns is None or frame.max_time >= self.since_ns)
            and (self.until_ns is None or frame.min_time < self.until_ns)
            and (self.first_seq is None or frame.last_seq >= self.first_seq)
            and (self.last_seq is None or frame.first_seq <= self.last_seq)
        )

    def covers(self, frame: FrameRef) -> bool:
        """Tell whether every event of `frame` is wanted, from its descriptor alone."""
        return (
            self.type_ids is None
            and self.env_ids is None
            and (self.since_ns is None or frame.min_time >= self.since_ns)
            and (self.until_ns is None or frame.max_time < self.until_ns)
            and (self.first_seq is None or frame.first_seq >= self.first_seq)
            and (self.last_seq is None or frame.last_seq <= self.last_seq)
        )

    def keeps(self, event: record_pb2.Event) -> bool:
        """Tell whether `event` is wanted."""
        return (
            (self.type_ids is None or event.type_id in self.type_ids)
            and (self.since_ns is None or event.time_unix_nano >= self.since_ns)
            and (self.until_ns is None or event.time_unix_nano < self.until_ns)
            and (self.first_seq is None or event.seq >= self.first_seq)
            and (self.last_seq is None or event.seq <= self.last_seq)
            and (self.env_ids is None or (event.context.HasField("env_id") and event.context.env_id in self.env_ids))
        )


EVERYTHING = Selection()
