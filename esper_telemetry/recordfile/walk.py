"""The pieces of a record file: `walk` goes forwards from any place, `find_pieces` takes a whole file the cheapest way.

`walk` is the one loop over pieces: readers, followers, the agent, the collector, verify and recovery go through it.
It passes over no byte without a piece: what cannot be read is a DAMAGE piece up to the next valid structure, and what
the end of the file cuts is a TAIL piece. `find_pieces` reads footers and descriptors from the end, 64 bytes a frame;
only when these do not explain every byte does it walk. Nothing is decompressed here.
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

# A cut file ends in less than one frame, so its last descriptor is in its last MiB.
_TAIL_BYTES = 1 << 20
_CHUNK_BYTES = 2 << 20
# A header takes some 20 KB: the first look at a file is one read of this size.
_FIRST_BYTES = 1 << 16
_LANDMARK = re.compile(rb"[\x57\x5e]\x2a\x4d\x18")


@dataclass(frozen=True, slots=True)
class TrustedFooter:
    """A footer that may be trusted.

    Attributes:
        start: where its segment starts, which is a prologue.
        offset: first byte of the index.
        end: first byte after the seek table.
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
        pieces = [*(pieces or []), *walk(source, committed if pieces else 0)]
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
    """Tell whether a frame may start where its descriptor states; a header's damaged start can be made again."""
    return offset >= layout.PROLOGUE_BYTES and (not desc.records or source.read_at(offset, 4) == layout.ZSTD_MAGIC)


def _whole_piece(data: bytes, offset: int) -> Piece | None:
    try:
        piece = piece_at(data, 0, offset)
    except (CorruptRecordError, UnsupportedRecordError):
        return None
    return piece if piece is not None and piece.end == offset + len(data) else None


def read_footer(source: Source, end: int) -> TrustedFooter:
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
        raise CorruptRecordError(f"the index states another size than the {size:,} bytes of the seek table")
    return TrustedFooter(start, table - size, end, parse_index_message(serialized), entries)


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


def walk(source: Source, at: int = 0, *, end: int | None = None) -> Iterator[Piece]:
    """Yield the pieces from `at` to the end of a file; together they cover every byte.

    Args:
        source: the file; it may grow meanwhile, which this walk does not see.
        at: where to start: the offset of a piece, or of anything, which then is damage.
        end: where to stop, as if the file ended there; None for its present size.

    Yields:
        Whole pieces; DAMAGE for bytes up to the next valid structure, or up to the end if none follows; TAIL for the
        start of a piece that the end cuts, as the last one.

    Raises:
        RecordError: the file cannot be read.
    """
    window = _Window(source, source.size if end is None else min(end, source.size))
    while at < window.end:
        reason = ""
        piece = None
        try:
            piece = window.piece(at)
        except (CorruptRecordError, UnsupportedRecordError) as error:
            reason = str(error)
        if piece is None:
            yield from (found := _resync(window, at, reason))
            at = found[-1].end
        else:
            yield piece
            at = piece.end


class GrowingWalk:
    """A walk over a file that is being written: what its end cuts, or makes look damaged, is read again later.

    Not for use by two threads at once.

    Args:
        source: the file.
        at: where to start.

    Attributes:
        at: the end of the last piece that was returned.
    """

    def __init__(self, source: Source, at: int = 0) -> None:
        self.at = at
        self._source = source
        self._size = 0
        self._pieces: Iterator[Piece] | None = None

    def next(self, *, final: bool = False) -> Piece | None:
        """Return the next piece, DAMAGE included; None while there is none yet.

        Args:
            final: nothing more will be written, so damage at the end is damage. A cut piece stays unread either way.

        Raises:
            RecordError: the file cannot be read.
        """
        if self._pieces is None:
            self._size = self._source.size
            self._pieces = walk(self._source, self.at, end=self._size)
        piece = next(self._pieces, None)
        if piece is None or piece.kind is Kind.TAIL:
            self._pieces = None
            return None
        if piece.kind is Kind.DAMAGE and piece.end >= self._size and not final:
            self._pieces = None
            return None
        self.at = piece.end
        return piece

    def back_to(self, at: int) -> None:
        """Go on at `at`: bytes from there on have changed, or are to be looked at again."""
        self.at = at
        self._pieces = None


class _Window:
    """The bytes around a position that moves forward. It begins small: often only the first piece is wanted."""

    def __init__(self, source: Source, end: int) -> None:
        self._source = source
        self._count = _FIRST_BYTES
        self.end = end
        self.base = 0
        self.data = b""

    def read_at(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset`; fewer at the end of the walk."""
        return self._source.read_at(offset, max(0, min(count, self.end - offset)))

    def piece(self, offset: int) -> Piece | None:
        """Return the piece at `offset`; None when the file ends inside it."""
        for least in (0, _CHUNK_BYTES, MAX_FRAME_PIECE * 2, layout.MAX_INDEX_BYTES + _CHUNK_BYTES):
            if offset < self.base + len(self.data):
                piece = piece_at(self.data, offset - self.base, self.base)
                if piece is not None:
                    return piece
                if self.base + len(self.data) >= self.end:
                    return None
            self._read(offset, max(least, self._count))
        return piece_at(self.data, 0, self.base)

    def _read(self, offset: int, count: int) -> None:
        self.base, self.data = offset, self.read_at(offset, count)
        self._count = min(2 * self._count, _CHUNK_BYTES)


def _resync(window: _Window, at: int, reason: str) -> list[Piece]:
    """Return what to make of the bytes at `at`, where no whole piece is, up to the next one."""
    for place in _landmarks(window, at):
        desc = layout.descriptor_at(window.read_at(place, layout.DESCRIPTOR_BYTES))
        if desc is None:
            if place > at and _is_landmark(window, place):
                return [Piece(Kind.DAMAGE, at, place, reason=reason or _CUT)]
            continue
        offset = place - desc.compressed_size
        if offset < at or (desc.records and window.read_at(offset, 4) != layout.ZSTD_MAGIC):
            lost = desc if desc.records else None
            return [Piece(Kind.DAMAGE, at, place + layout.DESCRIPTOR_BYTES, lost, reason=reason or _CUT)]
        before = [Piece(Kind.DAMAGE, at, offset, reason=reason or _CUT)] if offset > at else []
        return [*before, frame_piece(offset, desc)]
    return [Piece(Kind.DAMAGE if reason else Kind.TAIL, at, window.end, reason=reason)]


_CUT = "a piece states a length beyond what is there"


def _landmarks(window: _Window, at: int) -> Iterator[int]:
    """Yield the places from `at` where a skippable frame of ours or a seek table may start."""
    while at < window.end:
        data = window.read_at(at, _CHUNK_BYTES)
        for match in _LANDMARK.finditer(data):
            yield at + match.start()
        if len(data) < _CHUNK_BYTES:
            return
        at += len(data) - 3


def _is_landmark(window: _Window, place: int) -> bool:
    """Tell whether a prologue, a skip marker, or a footer is at `place`; a few bytes decide, not its whole size."""
    head = window.read_at(place, layout.SKIP_BYTES)
    if len(head) < layout.SKIPPABLE_HEADER.size + 4:
        return False
    magic, length = layout.SKIPPABLE_HEADER.unpack_from(head)
    end = place + layout.SKIPPABLE_HEADER.size + length
    if magic == layout.SEEK_TABLE_MAGIC:
        return end <= window.end and window.read_at(end - 4, 4) == layout.SEEKABLE_MAGIC
    return _whole_piece(head[: layout.PROLOGUE_BYTES], place) is not None or _whole_piece(head, place) is not None
