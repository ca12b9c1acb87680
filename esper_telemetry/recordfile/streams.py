"""Which streams a run folder holds, and who still writes: for a process that is about to join or to resume a run.

Of each stream the first header is read, nothing else: a folder of a thousand segments is no more than a listing.
What is no record, or has no whole header yet, is passed over.
"""

from __future__ import annotations

import contextlib
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.errors import CorruptRecordError, RecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.header import parse_header_frame
from esper_telemetry.recordfile.lock import is_locked
from esper_telemetry.recordfile.paths import SUFFIX, SegmentName
from esper_telemetry.recordfile.piece import Kind
from esper_telemetry.recordfile.reader import check_prologue
from esper_telemetry.recordfile.source import FileSource
from esper_telemetry.recordfile.walk import walk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from esper_telemetry.v1 import record_pb2


class RunStream(NamedTuple):
    """A stream of a run.

    Attributes:
        header: the first header of its first segment that is here.
        writing: a process holds the lock of its last segment.
    """

    header: record_pb2.Header
    writing: bool

    @property
    def attempt(self) -> int:
        """The attempt it belongs to, from 1."""
        return self.header.attempt or 1


def list_streams(folder: Path) -> list[RunStream]:
    """Return the streams in a run folder; none if there is no such folder."""
    found = []
    for paths in _by_stream(folder):
        with contextlib.suppress(RecordError, OSError):
            found.append(RunStream(first_header(paths[0]), is_locked(paths[-1])))
    return found


def first_header(path: Path) -> record_pb2.Header:
    """Return the first header of a file.

    Raises:
        RecordError: it cannot be opened, is no record, or its header is not whole.
    """
    source = FileSource(path)
    try:
        check_prologue(source)
        end = layout.PROLOGUE_BYTES + layout.MAX_HEADER_BYTES + layout.DESCRIPTOR_BYTES
        piece = next(walk(source, layout.PROLOGUE_BYTES, end=end), None)
        if piece is None or piece.kind is not Kind.HEADER or piece.descriptor is None:
            raise CorruptRecordError("its first header is not whole", path=str(path), offset=layout.PROLOGUE_BYTES)
        frame = source.read_at(piece.offset, piece.descriptor.compressed_size)
    finally:
        source.close()
    return parse_header_frame(FrameDecoder().decode(frame, piece.descriptor.raw_size))


def _by_stream(folder: Path) -> Iterator[list[Path]]:
    """Yield the files of each stream in the order of its segments; a file with a name of its own stands alone."""
    names = [(SegmentName.parse(path), path) for path in sorted(folder.glob("*" + SUFFIX))]
    yield from ([path] for name, path in names if name is None)
    named = sorted((name, path) for name, path in names if name is not None)
    for _, group in groupby(named, key=lambda item: (item[0].stream, item[0].rank, item[0].started, item[0].boot)):
        yield [path for _, path in group]
