"""One segment of a record, read forward: each frame with its descriptor byte for byte, as soon as it is whole.

It decompresses headers only, never waits and never writes. What the end of a growing
file cuts is left for the next call; what is damaged is passed over and remembered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.errors import RecordError
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.piece import Kind
from esper_telemetry.recordfile.scan import find_pieces, scan
from esper_telemetry.recordfile.segment import Assembler
from esper_telemetry.recordfile.source import FileSource
from esper_telemetry.schema.fingerprint import schema_fingerprint
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from esper_telemetry.recordfile import layout
    from esper_telemetry.recordfile.piece import Piece


class StreamSchema(NamedTuple):
    """What the frames that follow are made of.

    Attributes:
        fingerprint: SHA-256 of types and descriptors, 32 bytes.
        header: the first header of a segment with the later ones merged in.
    """

    fingerprint: bytes
    header: record_pb2.Header


def merge_headers(headers: Sequence[record_pb2.Header]) -> StreamSchema:
    """Return the schema that the headers of one segment make, in file order.

    Serialized FileDescriptorSets are joined as they are: concatenated protobuf is merged protobuf.
    """
    merged = record_pb2.Header()
    merged.CopyFrom(headers[0])
    for header in headers[1:]:
        merged.types.extend(header.types)
        merged.attributes.update(header.attributes)
    merged.file_descriptor_set = b"".join(header.file_descriptor_set for header in headers)
    return StreamSchema(schema_fingerprint(merged), merged)


class Frame(NamedTuple):
    """A frame on its way.

    Attributes:
        descriptor: what stands behind it.
        payload: the zstd frame and its descriptor, as they stand in the file; cut from what was read, not copied.
        schema: what its events are made of.
    """

    descriptor: layout.Descriptor
    payload: memoryview
    schema: StreamSchema

    @property
    def first_seq(self) -> int:
        """First number it covers."""
        return self.descriptor.first_seq

    @property
    def last_seq(self) -> int:
        """Last number it covers."""
        return self.descriptor.last_seq


class _ReadOnce:
    """A file whose last read is kept: the scan for pieces reads a stretch, and the frames in it are cut from that.

    Args:
        source: the file, which may grow.
    """

    def __init__(self, source: FileSource) -> None:
        self._source = source
        self.name = source.name
        self._at = 0
        self._data = b""

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        return self._source.size

    def read_at(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset`; fewer at the end of the file."""
        self._at, self._data = offset, self._source.read_at(offset, count)
        return self._data

    def view_at(self, offset: int, count: int) -> memoryview:
        """Return the same without a copy where they were read last."""
        start = offset - self._at
        if not 0 <= start <= start + count <= len(self._data):
            return memoryview(self.read_at(offset, count))
        return memoryview(self._data)[start : start + count]

    def close(self) -> None:
        """Close the file."""
        self._source.close()


class SegmentFrames:
    """A forward reader of one segment.

    Args:
        path: the file.
        start: where the segment's prologue stands in it.

    Attributes:
        closed: its footer was reached.
        ended: nothing more will come from it: footer, or the prologue of another segment.
        damaged: bytes were passed over; whoever asks resets it.
        damages: what was passed over, as sentences.
    """

    def __init__(self, path: Path, start: int = 0) -> None:
        self.path = path
        self._start = start
        self._source: _ReadOnce | None = None
        self._headers: list[record_pb2.Header] = []
        self.damages: list[str] = []
        self._rewind()

    def _rewind(self) -> None:
        self._offset = self._start
        self._size = 0
        self._pieces: Iterator[Piece] | None = None
        self._headers.clear()
        self._schema: StreamSchema | None = None
        self.closed = self.ended = self.damaged = False

    @property
    def schema(self) -> StreamSchema | None:
        """The schema at the present place; None before a header was read."""
        if self._schema is None and self._headers:
            self._schema = merge_headers(self._headers)
        return self._schema

    def close(self) -> None:
        """Let go of the file; reading opens it again."""
        if self._source is not None:
            self._source.close()
            self._source = self._pieces = None

    def seek(self, seq: int) -> None:
        """Go to the first frame that covers `seq` or comes after it.

        Raises:
            RecordError: the file is gone or cannot be read.
        """
        self._rewind()
        for piece in find_pieces(self._open()):
            if piece.offset < self._start or piece.kind is Kind.DAMAGE:
                continue
            if self._ends(piece) or piece.kind in (Kind.INDEX, Kind.SEEK_TABLE, Kind.TAIL):
                return
            covered = piece.descriptor or piece.skip
            if piece.kind is not Kind.HEADER and covered is not None and covered.last_seq >= seq:
                return
            if piece.kind is Kind.HEADER:
                self._declare(piece)
            self._offset = piece.end

    def read(self) -> Frame | layout.Skip | None:
        """Return what comes next; None when nothing whole stands there yet, or the segment has ended.

        Raises:
            RecordError: the file is gone or cannot be read.
        """
        while not self.ended:
            piece = self._next_piece()
            if piece is None:
                return None
            self._offset = piece.end
            if piece.descriptor is not None and piece.kind is Kind.DATA and self.schema is not None:
                payload = self._open().view_at(piece.offset, piece.end - piece.offset)
                return Frame(piece.descriptor, payload, self.schema)
            if piece.kind is Kind.SKIP:
                return piece.skip
            if piece.kind is Kind.HEADER:
                self._declare(piece)
            elif piece.kind in (Kind.DAMAGE, Kind.DATA):
                self._note(piece, piece.reason or "no header says what its types are")
            elif piece.kind is Kind.SEEK_TABLE:
                self.closed = self.ended = True
        return None

    def _ends(self, piece: Piece) -> bool:
        return piece.kind is Kind.PROLOGUE and piece.offset > self._start

    def _next_piece(self) -> Piece | None:
        source = self._open()
        if self._pieces is None:
            self._size = source.size
            self._pieces = scan(source, self._offset)
        piece = next(self._pieces, None)
        if piece is None or piece.kind is Kind.TAIL or (piece.kind is Kind.DAMAGE and piece.end >= self._size):
            self._pieces = None  # what the end cuts, or makes look damaged, may become whole
            return None
        if self._ends(piece):
            self.ended = True
            return None
        return piece

    def _declare(self, piece: Piece) -> None:
        assert piece.descriptor is not None  # noqa: S101 - a HEADER piece has one
        source = self._open()
        try:
            self._headers.append(Assembler(source, FrameDecoder()).read_header(piece.offset, piece.descriptor))
        except RecordError as error:
            self._note(piece, f"a header frame is damaged: {error}")
        self._schema = None

    def _note(self, piece: Piece, reason: str) -> None:
        self.damaged = True
        self.damages.append(f"{self.path}: bytes {piece.offset:,} to {piece.end:,} cannot be read: {reason}")

    def _open(self) -> _ReadOnce:
        if self._source is None:
            self._source = _ReadOnce(FileSource(self.path))
        return self._source
