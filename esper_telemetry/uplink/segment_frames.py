"""One segment of a record, read forward: each frame with its descriptor byte for byte, as soon as it is whole.

It never waits and never writes. What the end of a growing file cuts is left for the next
call; what is damaged is passed over and remembered. Each frame is decompressed before it is
handed on: a collector that stored a damaged one would take the whole one for a duplicate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.errors import RecordError
from esper_telemetry.recordfile import Skip, SkipReason
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.piece import Kind
from esper_telemetry.recordfile.segment import Assembler
from esper_telemetry.recordfile.source import FileSource, LastRead
from esper_telemetry.recordfile.walk import GrowingWalk, find_pieces
from esper_telemetry.schema.fingerprint import schema_fingerprint
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence
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
        descriptor: what follows it in the file.
        payload: the zstd frame and its descriptor, as they are in the file; cut from what was read, not copied.
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


class SegmentFrames:
    """A forward reader of one segment.

    Args:
        path: the file.
        start: offset of the segment's prologue in it.

    Attributes:
        closed: its footer was reached.
        ended: nothing more will come from it: footer, or the prologue of another segment.
        damaged: bytes were passed over; the reader of this flag resets it.
        damages: what was passed over, as sentences.
    """

    def __init__(self, path: Path, start: int = 0) -> None:
        self.path = path
        self._start = start
        self._source: LastRead | None = None
        self._walk: GrowingWalk | None = None
        self._headers: list[record_pb2.Header] = []
        self._decoder: FrameDecoder | None = None
        self.damages: list[str] = []
        self._rewind()

    def _rewind(self) -> None:
        if self._walk is not None:
            self._walk.back_to(self._start)
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
        """Close the file; reading opens it again."""
        if self._source is not None:
            self._source.close()
            self._source = self._decoder = None

    def seek(self, seq: int) -> None:
        """Go to the first frame that covers `seq` or comes after it.

        Raises:
            RecordError: the file is gone or cannot be read.
        """
        self._rewind()
        source, walk = self._opened()
        for piece in find_pieces(source):
            if piece.offset < self._start or piece.kind is Kind.DAMAGE:
                continue
            if self._ends(piece) or piece.kind in (Kind.INDEX, Kind.SEEK_TABLE, Kind.TAIL):
                return
            covered = piece.descriptor or piece.skip
            if piece.kind is not Kind.HEADER and covered is not None and covered.last_seq >= seq:
                return
            if piece.kind is Kind.HEADER:
                self._declare(piece)
            walk.back_to(piece.end)

    def read(self) -> Frame | Skip | None:
        """Return what comes next; None when nothing whole is there yet, or the segment has ended.

        A Skip stands in the file, or for a frame whose content is damaged while its descriptor is whole.

        Raises:
            RecordError: the file is gone or cannot be read.
        """
        while not self.ended:
            piece = self._next_piece()
            if piece is None:
                return None
            if piece.descriptor is not None and piece.kind is Kind.DATA and self.schema is not None:
                payload = self._opened()[0].view_at(piece.offset, piece.end - piece.offset)
                return self._damage_of(piece, payload) or Frame(piece.descriptor, payload, self.schema)
            if piece.kind is Kind.SKIP:
                return piece.skip
            if piece.kind is Kind.HEADER:
                self._declare(piece)
            elif piece.kind in (Kind.DAMAGE, Kind.DATA):
                self._note(piece, piece.reason or "no header declares its types")
            elif piece.kind is Kind.SEEK_TABLE:
                self.closed = self.ended = True
        return None

    def _damage_of(self, piece: Piece, payload: memoryview) -> Skip | None:
        """Return the Skip for a frame whose content is damaged; None where it is whole."""
        desc = piece.descriptor
        assert desc is not None  # noqa: S101 - a DATA piece with payload has one
        self._decoder = self._decoder or FrameDecoder()
        try:
            self._decoder.decode(bytes(payload[: desc.compressed_size]), desc.raw_size)
        except RecordError as error:
            self._note(piece, str(error))
            return Skip(desc.first_seq, desc.last_seq, SkipReason.CORRUPT)
        return None

    def _ends(self, piece: Piece) -> bool:
        return piece.kind is Kind.PROLOGUE and piece.offset > self._start

    def _next_piece(self) -> Piece | None:
        piece = self._opened()[1].next()
        if piece is None:
            return None
        if self._ends(piece):
            self.ended = True
            return None
        return piece

    def _declare(self, piece: Piece) -> None:
        assert piece.descriptor is not None  # noqa: S101 - a HEADER piece has one
        source, _ = self._opened()
        try:
            self._headers.append(Assembler(source, FrameDecoder()).read_header(piece.offset, piece.descriptor))
        except RecordError as error:
            self._note(piece, f"a header frame is damaged: {error}")
        self._schema = None

    def _note(self, piece: Piece, reason: str) -> None:
        self.damaged = True
        self.damages.append(f"{self.path}: bytes {piece.offset:,} to {piece.end:,} cannot be read: {reason}")

    def _opened(self) -> tuple[LastRead, GrowingWalk]:
        if self._source is None:
            self._source = LastRead(FileSource(self.path))
            self._walk = GrowingWalk(self._source, self._start if self._walk is None else self._walk.at)
        assert self._walk is not None  # noqa: S101 - made with the source
        return self._source, self._walk
