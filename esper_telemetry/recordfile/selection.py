"""Which events a reader wants: by type, time, number and environment.

Whole frames are judged by their descriptors, so frames not concerned are never
decompressed; payloads are never parsed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from esper_telemetry.recordfile.index import mask_of

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    def pick(self, events: Sequence[record_pb2.Event]) -> Sequence[record_pb2.Event]:
        """Return those of `events` that are wanted: as `keeps`, one pass for each bound that is set."""
        if self.type_ids is not None:
            types = self.type_ids
            events = [event for event in events if event.type_id in types]
        if self.since_ns is not None or self.until_ns is not None:
            since, until = self.since_ns or 0, self.until_ns if self.until_ns is not None else _FOREVER
            events = [event for event in events if since <= event.time_unix_nano < until]
        if self.first_seq is not None or self.last_seq is not None:
            first, last = self.first_seq or 0, self.last_seq if self.last_seq is not None else _FOREVER
            events = [event for event in events if first <= event.seq <= last]
        if self.env_ids is not None:
            events = [event for event in events if self.keeps(event)]
        return events

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


_FOREVER = 1 << 64  # one more than a fixed64 can hold
EVERYTHING = Selection()
