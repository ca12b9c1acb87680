"""Counts, bytes and times by type from envelopes alone: no payload is parsed and no object is made for an event.

What came by column is counted by column. A block of steps is the exception: its payload states how many rows it holds,
and of which type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from esper_telemetry.decode.event import block_facts
from esper_telemetry.recordfile.frame_events import block_envelopes
from esper_telemetry.schema.envelope import element_size

if TYPE_CHECKING:
    from esper_telemetry.decode.event import Event
    from esper_telemetry.decode.types import EventKind, Origin
    from esper_telemetry.recordfile import Envelope
    from esper_telemetry.recordfile.frame_events import FrameContent


@dataclass(slots=True)
class TypeTally:
    """Events of one type.

    Attributes:
        events: how many; the rows of blocks count one each.
        bytes: what they took before compression.
        first_time: earliest, nanoseconds since 1970 UTC.
        last_time: latest.
    """

    events: int
    bytes: int
    first_time: int
    last_time: int

    def add(self, more: TypeTally) -> None:
        """Add further events."""
        self.events += more.events
        self.bytes += more.bytes
        self.first_time = min(self.first_time, more.first_time)
        self.last_time = max(self.last_time, more.last_time)


class Tallies:
    """Counts frames and single events.

    Attributes:
        found: a tally for each type of each segment.
    """

    def __init__(self) -> None:
        self.found: dict[tuple[Origin, EventKind], TypeTally] = {}

    def add_frame(self, origin: Origin, content: FrameContent) -> None:
        """Count the events of a frame.

        Args:
            origin: its segment.
            content: its events.
        """
        for one in content.events:
            self._add_envelope(origin, one, element_size(one.seq, len(one.context), len(one.payload)))
        for block in content.blocks:
            if block.type_id in origin.block_ids:
                for one, size in zip(block_envelopes(block), block.sizes(), strict=True):
                    self._add_envelope(origin, one, size)
            else:
                tally = TypeTally(len(block), block.size, min(block.times), max(block.times))
                self._add(origin, origin.kinds[block.type_id], tally)

    def _add_envelope(self, origin: Origin, one: Envelope, size: int) -> None:
        kind, time = origin.kinds[one.type_id], one.time_unix_nano
        if one.type_id in origin.block_ids:
            self._add_block(origin, kind, one.payload, size, time)
        else:
            self._add(origin, kind, TypeTally(1, size, time, time))

    def add_event(self, event: Event) -> None:
        """Count one event."""
        kind, origin = event.shared
        if kind is origin.block_kind:
            self._add_block(origin, kind, event.payload, event.size, event.time_unix_nano)
        else:
            self._add(origin, kind, TypeTally(1, event.size, event.time_unix_nano, event.time_unix_nano))

    def _add_block(self, origin: Origin, kind: EventKind, payload: bytes, size: int, time: int) -> None:
        block = block_facts(kind, payload, time)
        if block is None:
            self._add(origin, kind, TypeTally(1, size, time, time))
        elif block.rows:
            self._add(origin, origin.schema.kind(block.row_type), TypeTally(block.rows, size, *block.times))

    def _add(self, origin: Origin, kind: EventKind, more: TypeTally) -> None:
        known = self.found.setdefault((origin, kind), more)
        if known is not more:
            known.add(more)
