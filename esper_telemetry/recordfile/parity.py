"""The parity of a header: a few bytes after it from which a damaged stretch of it can be made again.

The parity of a header frame is the exclusive or of its blocks, those at even places and those at odd places apart.
Any two blocks that follow each other can be made again from it, so damage of up to a block's length costs nothing,
wherever it is. Which blocks are damaged need not be known: each pair is tried, and the frame's own XXH64 identifies
the right one. A second copy of the header would cost ten times the bytes, and could not be in a file whose writer
was killed before the end.

Pure: bytes in, values out. EPAR is skippable like any other frame; it ends in its own size, so that a reader who
walks backwards finds its start.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.layout import MAX_HEADER_BYTES, OUR_MAGIC

if TYPE_CHECKING:
    from collections.abc import Iterator

PARITY_TAG = b"EPAR"
# As many bytes of the SHA-256 as no two schemas share by accident.
FINGERPRINT_BYTES = 8
# magic, size, tag, header bytes, schema fingerprint; then two blocks of parity; then size, tag, CRC-32.
_HEAD = Struct(f"<4sI4sI{FINGERPRINT_BYTES}s")
_TAIL = Struct("<I4sI")
PARITY_END_BYTES = _TAIL.size
# Two blocks are 3 % of a header, with 36 bytes beside. Each pair of blocks costs a reader one try, so there
# are never more than 128: in headers of more than 32 KiB they are longer than the usual.
_SMALLEST_BLOCK, _USUAL_BLOCK = 8, 256
_FEW_BLOCKS, _MOST_BLOCKS = 64, 128
MAX_PARITY_BYTES = _HEAD.size + 2 * (MAX_HEADER_BYTES // _MOST_BLOCKS + 256) + _TAIL.size


class Parity(NamedTuple):
    """What follows a header frame.

    Attributes:
        block_bytes: length of a block.
        frame_bytes: length of the header frame.
        fingerprint: first 8 bytes of the SHA-256 of the types and descriptors that the header declares.
        even: exclusive or of the blocks 0, 2, 4 ...
        odd: exclusive or of the blocks 1, 3, 5 ...
    """

    block_bytes: int
    frame_bytes: int
    fingerprint: bytes
    even: bytes
    odd: bytes


def pack_parity(frame: bytes, fingerprint: bytes) -> bytes:
    """Return the parity of a header frame.

    Args:
        frame: the frame, its descriptor not included.
        fingerprint: SHA-256 of what it declares; 8 bytes of it are kept.
    """
    size = max(_SMALLEST_BLOCK, min(_USUAL_BLOCK, -(-len(frame) // _FEW_BLOCKS)), -(-len(frame) // _MOST_BLOCKS))
    blocks = _blocks(frame, size)
    body = _xor(blocks[::2], size) + _xor(blocks[1::2], size)
    whole = _HEAD.size + len(body) + _TAIL.size
    start = _HEAD.pack(OUR_MAGIC, whole - 8, PARITY_TAG, len(frame), fingerprint[:FINGERPRINT_BYTES]) + body
    ending = _TAIL.pack(whole, PARITY_TAG, 0)[:-4]
    return start + ending + crc32(start + ending).to_bytes(4, "little")


def parse_parity(data: bytes) -> Parity:
    """Parse a whole EPAR frame.

    Raises:
        CorruptRecordError: the bytes are none, or their checksum is wrong.
    """
    if len(data) < _HEAD.size + _TAIL.size or len(data) > MAX_PARITY_BYTES:
        raise CorruptRecordError(f"{len(data):,} bytes are no parity of a header")
    magic, _, tag, frame_bytes, fingerprint = _HEAD.unpack_from(data)
    whole, _, checksum = _TAIL.unpack_from(data, len(data) - _TAIL.size)
    body = data[_HEAD.size : -_TAIL.size]
    if (magic, tag, whole) != (OUR_MAGIC, PARITY_TAG, len(data)) or crc32(data[:-4]) != checksum:
        raise CorruptRecordError("the parity of the header is damaged")
    size, rest = divmod(len(body), 2)
    if rest or not size or not frame_bytes:
        raise CorruptRecordError(f"the parity of a header of {frame_bytes:,} bytes holds {len(body):,}, not two blocks")
    return Parity(size, frame_bytes, fingerprint, body[:size], body[size:])


def parity_size(ending: bytes) -> int:
    """Return the size of the EPAR frame that ends with the bytes `ending`; 0 if none does."""
    if len(ending) < _TAIL.size:
        return 0
    whole, tag, _ = _TAIL.unpack_from(ending, len(ending) - _TAIL.size)
    return int(whole) if tag == PARITY_TAG and whole <= MAX_PARITY_BYTES else 0


def candidates(frame: bytes, parity: Parity) -> Iterator[bytes]:
    """Yield what a damaged header frame may have been: for each two neighbouring blocks, these made again.

    Args:
        frame: the damaged bytes, as many as the frame had.
        parity: its parity.
    """
    size = parity.block_bytes
    if len(frame) != parity.frame_bytes or len(frame) > size * _MOST_BLOCKS:
        return
    blocks = _blocks(frame, size)
    # What a block has to be XORed with to become what the parity states it was, if it alone is wrong in its row.
    errors = [_xor([stated, _xor(blocks[row::2], size)], size) for row, stated in enumerate((parity.even, parity.odd))]
    for places in _damaged_blocks(len(blocks), [row for row in (0, 1) if any(errors[row])]):
        fixed = list(blocks)
        for place in places:
            fixed[place] = _xor([blocks[place], errors[place % 2]], size)
        yield b"".join(fixed)[: len(frame)]


def _damaged_blocks(count: int, rows: list[int]) -> Iterator[tuple[int, ...]]:
    """Yield which of `count` blocks may be damaged, if these rows of blocks are wrong."""
    if len(rows) == 2:  # noqa: PLR2004 - both: two neighbours
        yield from ((at, at + 1) for at in range(count - 1))
    elif rows:
        yield from ((at,) for at in range(rows[0], count, 2))
    else:
        yield ()


def _blocks(frame: bytes, size: int) -> list[bytes]:
    return [frame[at : at + size].ljust(size, b"\0") for at in range(0, len(frame), size)]


def _xor(blocks: list[bytes], size: int) -> bytes:
    total = 0
    for block in blocks:
        total ^= int.from_bytes(block, "little")
    return total.to_bytes(size, "little")
