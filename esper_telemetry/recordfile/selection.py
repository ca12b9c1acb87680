"""Which events a reader wants: by type, time, sequence number and environment.

Whole frames are judged by their descriptors, so frames not concerned are never
decompressed; payloads are never parsed.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import DecodeError

from esper_telemetry.recordfile.frame_events import stated_columns
from esper_telemetry.recordfile.index import mask_of
from esper_telemetry.v1.context_pb2 import Context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.recordfile.frame_events import Envelope
    from esper_telemetry.recordfile.index import FrameRef
    from esper_telemetry.v1 import record_pb2


Picked = TypeVar("Picked", bound="record_pb2.Event | Envelope")


@dataclass(frozen=True, slots=True)
class Selection:
    """A window on a record; None means no bound.

    Attributes:
        type_ids: ids of the types wanted. They hold for one segment: each has its own table.
        since_ns: earliest time, nanoseconds since 1970 UTC, inclusive.
        until_ns: latest time, exclusive.
        first_seq: first sequence number, inclusive.
        last_seq: last sequence number, inclusive.
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

    def pick(self, events: Sequence[Picked], raw: bytes) -> list[Picked]:
        """Return those of `events` that are wanted, as `keeps` decides; no object is made for the others.

        Args:
            events: all events of a frame.
            raw: the frame, decompressed.
        """
        found = stated_columns(raw, len(events))
        if found is None:
            return [event for event in events if self.keeps(event)]
        at = self.places(found.seqs, found.times)
        if self.type_ids is not None:
            types, wanted = list(found.type_ids), self.type_ids
            at = [place for place in at if types[place] in wanted]
        picked = list(events[at.start : at.stop]) if isinstance(at, range) else [events[place] for place in at]
        return picked if self.env_ids is None else [event for event in picked if self.keeps(event)]

    def places(self, seqs: Sequence[int], times: Sequence[int]) -> Sequence[int]:
        """Return the places of the events of a block that are wanted by time and sequence number.

        Args:
            seqs: sequence number of each event.
            times: time of each.
        """
        at: Sequence[int] = range(len(seqs))
        if self.since_ns is not None or self.until_ns is not None:
            at = _between(times, at, self.since_ns, self.until_ns)
        if self.first_seq is not None or self.last_seq is not None:
            at = _between(seqs, at, self.first_seq, None if self.last_seq is None else self.last_seq + 1)
        return at

    def keeps(self, event: Picked) -> bool:
        """Tell whether `event` is wanted."""
        return (
            (self.type_ids is None or event.type_id in self.type_ids)
            and (self.since_ns is None or event.time_unix_nano >= self.since_ns)
            and (self.until_ns is None or event.time_unix_nano < self.until_ns)
            and (self.first_seq is None or event.seq >= self.first_seq)
            and (self.last_seq is None or event.seq <= self.last_seq)
            and (self.env_ids is None or _is_in(event.context, self.env_ids))
        )


def _is_in(context: Context | bytes, env_ids: frozenset[int]) -> bool:
    """Tell whether an event happened in one of some environments; bytes that are no context are in none."""
    try:
        known = Context.FromString(context) if isinstance(context, bytes) else context
    except DecodeError:
        return False
    return known.HasField("env_id") and known.env_id in env_ids


def _between(column: Sequence[int], at: Sequence[int], low: int | None, high: int | None) -> Sequence[int]:
    """Return those of the places `at` whose value is at least `low` and less than `high`."""
    start, end = low or 0, _FOREVER if high is None else high
    values = list(column)
    if isinstance(at, range) and values == sorted(
        values
    ):  # nearly always: sequence numbers rise, and so do most clocks
        return range(max(at.start, bisect_left(values, start)), min(at.stop, bisect_left(values, end)))
    return [place for place in at if start <= values[place] < end]


_FOREVER = 1 << 64  # one more than a fixed64 can hold
EVERYTHING = Selection()
