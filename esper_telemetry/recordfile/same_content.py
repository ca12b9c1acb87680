"""Tells whether two record files give a reader the same, wherever their frames begin and end.

Columns are compared as digests: two files of any size take a few hundred bytes. Order counts, and so does every byte
of a context and a payload.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esper_telemetry.recordfile.index import FrameRef
    from esper_telemetry.recordfile.reader import RecordReader
    from esper_telemetry.recordfile.segment import Segment


class Content:
    """What a reader is given of a file, as digests that do not depend on where its frames begin and end."""

    def __init__(self) -> None:
        self._columns = [hashlib.blake2b(digest_size=16) for _ in range(5)]
        self._rest: list[object] = []
        self._types: dict[int, str] = {}

    def __eq__(self, other: object) -> bool:
        """Tell whether two files give a reader the same."""
        return isinstance(other, Content) and self._state() == other._state()

    __hash__ = None  # type: ignore[assignment]  # it grows

    def _state(self) -> tuple[object, ...]:
        return (*(one.digest() for one in self._columns), *self._rest)

    def segment(self, segment: Segment) -> None:
        """Add what a segment states beside its events: identity, ranges, and the names of the types of its events."""
        header = record_pb2.Header()
        header.CopyFrom(segment.header)
        header.ClearField("types")
        header.ClearField("file_descriptor_set")
        skips = sorted(segment.skips)
        covered = [(frame.first_seq, frame.last_seq) for frame in segment.frames]
        span = (covered[0][0], covered[-1][1]) if covered else None
        self._rest += [header.SerializeToString(deterministic=True), skips, span, segment.last_seq, segment.records]
        self._types = segment.types

    def frame(self, reader: RecordReader, frame: FrameRef) -> None:
        """Add the events of a frame of the segment that was added last.

        Raises:
            RecordError: it cannot be read.
        """
        found = reader.read_columns(frame)
        types = (self._types.get(number, "") for number in found.type_ids)
        parts: tuple[Iterable[int | str | bytes], ...] = (
            found.seqs,
            found.times,
            types,
            found.contexts,
            found.payloads,
        )
        for digest, values in zip(self._columns, parts, strict=True):
            for value in values:
                digest.update(_bytes_of(value))


def _bytes_of(value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return value.to_bytes(8, "little")
    data = value.encode() if isinstance(value, str) else value
    return len(data).to_bytes(4, "little") + data
