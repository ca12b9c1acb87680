"""The pieces a record file is made of, and which one is at an offset.

Pure: bytes in, values out. A frame and its descriptor are one piece: without its
descriptor a frame is not committed.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.frame import frame_length
from esper_telemetry.recordfile.parity import PARITY_TAG, parse_parity

if TYPE_CHECKING:
    from esper_telemetry.recordfile.layout import Descriptor, Skip

# Only index and seek table may be larger: an incompressible frame of the raw limit, its block headers, its descriptor.
MAX_FRAME_PIECE = layout.MAX_RAW_BYTES + 4096


class Kind(enum.Enum):
    """What a piece is."""

    PROLOGUE = "prologue"
    HEADER = "header"
    DATA = "data"
    SKIP = "skip"
    PARITY = "parity"
    INDEX = "index"
    SEEK_TABLE = "seek table"
    OTHER = "other"
    DAMAGE = "damage"
    TAIL = "tail"


class Piece(NamedTuple):
    """A stretch of a record file.

    Attributes:
        kind: what it is; DAMAGE cannot be read, TAIL is the start of a piece that the file's end cuts.
        offset: first byte.
        end: first byte after it.
        descriptor: of HEADER and DATA; of DAMAGE where the descriptor of a damaged frame survived.
        skip: of SKIP.
        reason: of DAMAGE.
    """

    kind: Kind
    offset: int
    end: int
    descriptor: Descriptor | None = None
    skip: Skip | None = None
    reason: str = ""


def frame_piece(offset: int, desc: Descriptor) -> Piece:
    """Return the piece for a frame at `offset` with its descriptor."""
    kind = Kind.DATA if desc.records else Kind.HEADER
    return Piece(kind, offset, offset + desc.compressed_size + layout.DESCRIPTOR_BYTES, desc)


def piece_at(data: bytes, at: int = 0, base: int = 0) -> Piece | None:
    """Return the piece that starts at `data[at]`; None when it needs more bytes.

    Args:
        data: bytes of the file.
        at: where in `data` to look.
        base: where in the file `data` starts.

    Raises:
        CorruptRecordError: no piece starts there.
        UnsupportedRecordError: a prologue of a newer format.
    """
    head = data[at : at + layout.PROLOGUE_BYTES]
    if head[:4] == layout.ZSTD_MAGIC:
        return _frame_at(data, at, base + at)
    if len(head) < 4 and _may_start(head):  # noqa: PLR2004 - a magic has four bytes
        return None
    if not layout.is_skippable(head):
        raise CorruptRecordError(f"no piece of a record starts with {head[:4].hex(' ')}")
    if len(head) < layout.SKIPPABLE_HEADER.size + 4:
        return None
    return _skippable_at(data, at, base + at, head)


def _may_start(head: bytes) -> bool:
    """Tell whether fewer than four bytes may be the start of a magic."""
    if layout.ZSTD_MAGIC.startswith(head):
        return True
    return head[0] & 0xF0 == 0x50 and layout.SKIPPABLE_TAIL.startswith(head[1:])  # noqa: PLR2004 - as is_skippable


def _frame_at(data: bytes, at: int, offset: int) -> Piece | None:
    length = frame_length(data, at)
    if length is None:
        if len(data) - at > MAX_FRAME_PIECE:
            raise CorruptRecordError("the frame is longer than any frame of a record")
        return None
    desc = layout.parse_descriptor(data[at + length : at + length + layout.DESCRIPTOR_BYTES])
    if desc is None:
        return None
    if desc.compressed_size != length:
        raise CorruptRecordError(f"the frame takes {length:,} bytes, its descriptor states {desc.compressed_size:,}")
    return frame_piece(offset, desc)


def _skippable_at(data: bytes, at: int, offset: int, head: bytes) -> Piece | None:
    magic, size = layout.SKIPPABLE_HEADER.unpack_from(head)
    tag = head[8:12]
    end = offset + layout.SKIPPABLE_HEADER.size + size
    if magic == layout.OUR_MAGIC:
        if tag == layout.PROLOGUE_TAG[:4]:
            return None if layout.parse_prologue(head) is None else Piece(Kind.PROLOGUE, offset, end)
        if tag == layout.DESCRIPTOR_TAG:
            raise CorruptRecordError("a frame descriptor is here without its frame")
        if tag == layout.SKIP_TAG:
            skip = layout.parse_skip(data[at : at + layout.SKIP_BYTES])
            return None if skip is None else Piece(Kind.SKIP, offset, end, skip=skip)
    if size > layout.MAX_INDEX_BYTES:
        raise CorruptRecordError(f"a skippable frame states {size:,} bytes, over every limit")
    if end - offset > len(data) - at:
        return None
    if magic == layout.SEEK_TABLE_MAGIC:
        layout.parse_seek_table(data[at : at + end - offset])
        return Piece(Kind.SEEK_TABLE, offset, end)
    if magic == layout.OUR_MAGIC and tag == layout.INDEX_TAG:
        layout.parse_index(data[at : at + end - offset])
        return Piece(Kind.INDEX, offset, end)
    is_parity = magic == layout.OUR_MAGIC and tag == PARITY_TAG and _is_parity(data[at : at + end - offset])
    return Piece(Kind.PARITY if is_parity else Kind.OTHER, offset, end)


def _is_parity(data: bytes) -> bool:
    """Tell whether a parity is whole; one that is damaged costs nothing, so it is passed over as a foreign frame."""
    try:
        parse_parity(data)
    except CorruptRecordError:
        return False
    return True
