"""Tells whether two record files give a reader the same, wherever their frames begin and end.

Columns are compared as digests: two files of any size take a few hundred bytes. Order counts, and so does every byte
of a context and a payload.
"""

from __future__ import annotations

import hashlib
from array import array
from typing import TYPE_CHECKING

from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from esper_telemetry.recordfile.frame_events import EventColumns
    from esper_telemetry.recordfile.segment import Segment


class Content:
    """What a reader is given of a file, as digests that do not depend on where its frames begin and end."""

    def __init__(self) -> None:
        self._columns = [hashlib.blake2b(digest_size=16) for _ in range(7)]
        self._rest: list[object] = []
        self._names: dict[int, str] = {}
        self._used: set[int] = set()

    def __eq__(self, other: object) -> bool:
        """Tell whether two files give a reader the same."""
        return isinstance(other, Content) and self._state() == other._state()

    __hash__ = None  # type: ignore[assignment]  # it grows

    def _state(self) -> tuple[object, ...]:
        return (*(one.digest() for one in self._columns), *self._rest, self._types())

    def _types(self) -> list[tuple[int, str]]:
        return [(number, self._names.get(number, "")) for number in sorted(self._used)]

    def segment(self, segment: Segment) -> None:
        """Add what a segment states beside its events: identity, ranges, and the names of the types of its events."""
        self._rest.append(self._types())
        self._names, self._used = segment.types, set()
        header = record_pb2.Header()
        header.CopyFrom(segment.header)
        header.ClearField("types")
        header.ClearField("file_descriptor_set")
        skips = sorted(segment.skips)
        covered = [(frame.first_seq, frame.last_seq) for frame in segment.frames]
        span = (covered[0][0], covered[-1][1]) if covered else None
        self._rest += [header.SerializeToString(deterministic=True), skips, span, segment.last_seq, segment.records]

    def events(self, found: EventColumns) -> None:
        """Add the events of the next frame of the segment that was added last."""
        self._used.update(found.type_ids)
        parts = [array("Q", one).tobytes() for one in (found.seqs, found.times, found.type_ids)]
        for texts in (found.contexts, found.payloads):
            parts += [array("Q", map(len, texts)).tobytes(), b"".join(texts)]
        for digest, part in zip(self._columns, parts, strict=True):
            digest.update(part)
