"""Finds the pieces of a record file: by its footer, backwards by its descriptors, or forwards through damage.

The footer and the backward walk decompress nothing and touch 64 bytes a frame. Only
when neither explains every byte is the file scanned from its start; after damage the
scan goes on at the next valid structure. No byte is passed over without a piece.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esper_telemetry.errors import CorruptRecordError, UnsupportedRecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.index import footer_pieces, parse_index_message
from esper_telemetry.recordfile.parity import parity_size
from esper_telemetry.recordfile.piece import MAX_FRAME_PIECE, Kind, Piece, frame_piece, piece_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esper_telemetry.recordfile.layout import Descriptor, SeekEntry
    from esper_telemetry.recordfile.source import Source
    from esper_telemetry.v1 import record_pb2

# A cut file ends in less than one frame, so its last descriptor stands in its last MiB.
_TAIL_BYTES = 1 << 20
_CHUNK_BYTES = 2 << 20
_LANDMARK = re.compile(rb"[\x57\x5e]\x2a\x4d\x18")


@dataclass(frozen=True, slots=True)
class Footer:
    """A footer that may be trusted.

    Attributes:
        start: where its segment starts: a prologue stands there.
        offset: first byte of the index.
        end: first byte behind the seek table.
        index: the parsed index.
        entries: the seek table.
    """

    start: int
    offset: int
    end: int
    index: record_pb2.Index
    entries: list[SeekEntry]


def find_pieces(source: Source) -> list[Piece]:
    """Return the pieces of a whole file in order; together they cover every byte of it."""
    size = source.size
    pieces = walk_back(source, size)
    if pieces is None:
        committed = last_commit(source, size)
        pieces = walk_back(source, committed) if committed else None
        pieces = [*(pieces or []), *scan(source, committed if pieces else 0)]
    return pieces


# --- by footers and descriptors -----------------------------------------------------------------------------------


def walk_back(source: Source, end: int) -> list[Piece] | None:
    """Return the pieces before `end` from footers and descriptors alone; None where the chain is broken."""
    found: list[Piece] = []
    while end > 0:
        block = _pieces_ending_at(source, end)
        if block is None:
            return None
        found.extend(reversed(block))
        end = block[0].offset
    found.reverse()
    return found


def _pieces_ending_at(source: Source, end: int) -> list[Piece] | None:
    start = max(0, end - layout.DESCRIPTOR_BYTES)
    tail = source.read_at(start, end - start)
    if tail.endswith(layout.SEEKABLE_MAGIC):
        try:
            footer = read_footer(source, end)
            return footer_pieces(source, footer.start, footer.index, footer.entries, footer.end)
        except (CorruptRecordError, UnsupportedRecordError):
            return None
    desc = layout.descriptor_at(tail) if len(tail) == layout.DESCRIPTOR_BYTES else None
    if desc is not None:
        offset = start - desc.compressed_size
        return [frame_piece(offset, desc)] if _frame_starts(source, offset, desc) else None
    size = parity_size(tail)
    if 0 < size <= end:
        piece = _whole_piece(source.read_at(end - size, size), end - size)
        return [piece] if piece is not None and piece.kind is Kind.PARITY else None
    for size, kind in ((layout.SKIP_BYTES, Kind.SKIP), (layout.PROLOGUE_BYTES, Kind.PROLOGUE)):
        piece = _whole_piece(tail[-size:], end - size)
        if piece is not None and piece.kind is kind:
            return [piece]
    return None


def _frame_starts(source: Source, offset: int, desc: Descriptor) -> bool:
    """Tell whether a frame may start where its descriptor says; a header's damaged start can be made again."""
    return offset >= layout.PROLOGUE_BYTES and (not desc.records or source.read_at(offset, 4) == layout.ZSTD_MAGIC)


def _whole_piece(data: bytes, offset: int) -> Piece | None:
    try:
        piece = piece_at(data, 0, offset)
    except (CorruptRecordError, UnsupportedRecordError):
        return None
    return piece if piece is not None and piece.end == offset + len(data) else None


def read_footer(source: Source, end: int) -> Footer:
    """Return the footer that ends at `end`.

    Raises:
        CorruptRecordError: none ends there, or its sizes plus itself do not reach back to a prologue.
        UnsupportedRecordError: its index is over the limit of the format.
    """
    count = layout.parse_seek_footer(source.read_at(max(0, end - layout.SEEK_FOOTER_BYTES), layout.SEEK_FOOTER_BYTES))
    table = end - layout.seek_table_bytes(count)
    if table < layout.PROLOGUE_BYTES:
        raise CorruptRecordError(f"the seek table of {count:,} entries reaches beyond the start of the file")
    entries = layout.parse_seek_table(source.read_at(table, end - table))
    if not entries:
        raise CorruptRecordError("the seek table is empty or cut")
    start = table - sum(entry.compressed_size for entry in entries)
    if start < 0 or source.read_at(start, len(layout.PROLOGUE_START)) != layout.PROLOGUE_START:
        raise CorruptRecordError(f"the sizes in the seek table reach back to byte {start:,}, where no record starts")
    size = entries[-1].compressed_size
    if size > layout.MAX_INDEX_BYTES:
        raise UnsupportedRecordError(f"the index takes {size:,} bytes, over the format's {layout.MAX_INDEX_BYTES:,}")
    serialized = layout.parse_index(source.read_at(table - size, size))
    if serialized is None or len(serialized) + layout.INDEX_HEAD_BYTES != size:
        raise CorruptRecordError(f"the index says another size than the {size:,} bytes of the seek table")
    return Footer(start, table - size, end, parse_index_message(serialized), entries)


def last_commit(source: Source, end: int) -> int:
    """Return the end of the last valid descriptor in the last MiB before `end`; 0 if there is none."""
    start = max(0, end - _TAIL_BYTES)
    data = source.read_at(start, end - start)
    at = data.rfind(layout.DESCRIPTOR_START)
    while at >= 0:
        if layout.descriptor_at(data, at) is not None:
            return start + at + layout.DESCRIPTOR_BYTES
        at = data.rfind(layout.DESCRIPTOR_START, 0, at)
    return 0


# --- forwards ---------------------------------------------------------------------------------------------------------


class _Window:
    """The bytes around a position that moves forward."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.size = source.size
        self.base = 0
        self.data = b""

    def piece(self, offset: int) -> Piece | None:
        """Return the piece at `offset`; None when the file ends inside it."""
        for count in (_CHUNK_BYTES, MAX_FRAME_PIECE * 2, layout.MAX_INDEX_BYTES + _CHUNK_BYTES):
            if offset < self.base + len(self.data):
                piece = piece_at(self.data, offset - self.base, self.base)
                if piece is not None:
                    return piece
                if self.base + len(self.data) >= self.size:
                    return None
            self.base, self.data = offset, self._source.read_at(offset, min(count, self.size - offset))
        return piece_at(self.data, 0, self.base)


def scan(source: Source, start: int = 0) -> Iterator[Piece]:
    """Yield the pieces from `start` to the end, damage and a cut tail included."""
    window = _Window(source)
    at = start
    while at < window.size:
        reason = ""
        piece = None
        try:
            piece = window.piece(at)
        except (CorruptRecordError, UnsupportedRecordError) as error:
            reason = str(error)
        if piece is None:
            yield from (found := _resync(source, at, window.size, reason))
            at = found[-1].end
        else:
            yield piece
            at = piece.end


def _resync(source: Source, at: int, size: int, reason: str) -> list[Piece]:
    """Return what to make of the bytes at `at`, where no whole piece stands, up to the next one that does."""
    for place in _landmarks(source, at, size):
        desc = layout.descriptor_at(source.read_at(place, layout.DESCRIPTOR_BYTES))
        if desc is None:
            if place > at and _is_landmark(source, place, size):
                return [Piece(Kind.DAMAGE, at, place, reason=reason or _CUT)]
            continue
        offset = place - desc.compressed_size
        if offset < at or (desc.records and source.read_at(offset, 4) != layout.ZSTD_MAGIC):
            lost = desc if desc.records else None
            return [Piece(Kind.DAMAGE, at, place + layout.DESCRIPTOR_BYTES, lost, reason=reason or _CUT)]
        before = [Piece(Kind.DAMAGE, at, offset, reason=reason or _CUT)] if offset > at else []
        return [*before, frame_piece(offset, desc)]
    return [Piece(Kind.DAMAGE if reason else Kind.TAIL, at, size, reason=reason)]


_CUT = "a piece says it is longer than what stands there"


def _landmarks(source: Source, at: int, size: int) -> Iterator[int]:
    """Yield the places from `at` where a skippable frame of ours or a seek table may start."""
    while at < size:
        data = source.read_at(at, _CHUNK_BYTES)
        for match in _LANDMARK.finditer(data):
            yield at + match.start()
        if len(data) < _CHUNK_BYTES:
            return
        at += len(data) - 3


def _is_landmark(source: Source, place: int, size: int) -> bool:
    """Tell whether a prologue, a skip marker, or a footer stands at `place`; a few bytes decide, not its whole size."""
    head = source.read_at(place, layout.SKIP_BYTES)
    if len(head) < layout.SKIPPABLE_HEADER.size + 4:
        return False
    magic, length = layout.SKIPPABLE_HEADER.unpack_from(head)
    end = place + layout.SKIPPABLE_HEADER.size + length
    if magic == layout.SEEK_TABLE_MAGIC:
        return end <= size and source.read_at(end - 4, 4) == layout.SEEKABLE_MAGIC
    return _whole_piece(head[: layout.PROLOGUE_BYTES], place) is not None or _whole_piece(head, place) is not None
