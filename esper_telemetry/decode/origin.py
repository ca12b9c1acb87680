"""Where events come from: one segment of a file, its types, and what of it cannot be decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.decode.types import STEP_BLOCK, KindTable, segment_schema

if TYPE_CHECKING:
    from collections import Counter

    from esper_telemetry.decode.types import EventKind
    from esper_telemetry.recordfile import Segment


class Origin:
    """A segment that is being read; its events share it.

    Attributes:
        path: the file.
        run_id: the run.
        stream: name of the stream.
        rank: distributed rank.
        attempt: attempt at the run, from 1.
        producer_id: 16 bytes that number events together.
        schema: what its descriptors declare.
        kinds: its types by id.
        type_ids: ids that the segment declares.
        block_ids: those of blocks, which hold rows of steps.
    """

    __slots__ = (
        "attempt",
        "block_ids",
        "kinds",
        "path",
        "producer_id",
        "rank",
        "run_id",
        "schema",
        "stream",
        "type_ids",
        "unknown",
    )

    def __init__(self, segment: Segment, path: str, unknown: Counter[str]) -> None:
        header = segment.header
        self.path = path
        self.run_id = header.run_id
        self.stream = header.stream
        self.rank = header.rank
        self.attempt = header.attempt or 1
        self.producer_id = header.producer_id
        self.schema = segment_schema(segment, path)
        self.kinds = KindTable(self.schema, segment.types)
        self.type_ids = frozenset(segment.types)
        self.block_ids = frozenset(number for number, name in segment.types.items() if name == STEP_BLOCK)
        self.unknown = unknown

    def undecodable(self, kind: EventKind) -> None:
        """Count an event that the record does not explain."""
        self.unknown[kind.name] += 1
