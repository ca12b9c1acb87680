"""The fixed structures of a record file as bytes: how each is packed and how it is parsed.

Pure: bytes in, values out, no I/O. `parse_*` returns None when it needs more bytes,
and raises CorruptRecordError (without a place: the caller knows it) when the bytes
cannot become that structure. All integers are little-endian. FORMAT.md is the text to this.
"""

from __future__ import annotations

import enum
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from esper_telemetry.errors import CorruptRecordError, UnsupportedRecordError

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT_MAJOR = 1
FORMAT_MINOR = 0

# Limits of the format; readers check them before they allocate.
MAX_FRAME_BYTES = 960 * 1024
MAX_RAW_BYTES = 4 << 20
MAX_WINDOW_BYTES = 8 << 20
MAX_HEADER_BYTES = 4 << 20
MAX_INDEX_BYTES = 64 << 20

ID_BYTES = 16

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# Ours among the sixteen skippable magics of Zstandard; the tag after the size tells ours from those of others.
OUR_MAGIC = b"\x57\x2a\x4d\x18"
SEEK_TABLE_MAGIC = b"\x5e\x2a\x4d\x18"
SEEKABLE_MAGIC = b"\xb1\xea\x92\x8f"
SKIPPABLE_TAIL = b"\x2a\x4d\x18"

PROLOGUE_TAG = b"ESPERREC"
DESCRIPTOR_TAG = b"EFRM"
SKIP_TAG = b"ESKP"
INDEX_TAG = b"EIDX"

SKIPPABLE_HEADER = Struct("<4sI")
_PROLOGUE = Struct("<4sI8sHHI")
_DESCRIPTOR = Struct("<4sI4sIIIIQQQQ")
_SKIP = Struct("<4sI4sIQQI")
_INDEX = Struct("<4sI4sI")
_SEEK_ENTRY = Struct("<III")
_SEEK_FOOTER = Struct("<IB4s")
_CRC = Struct("<I")

PROLOGUE_BYTES = _PROLOGUE.size
DESCRIPTOR_BYTES = _DESCRIPTOR.size + _CRC.size
SKIP_BYTES = _SKIP.size + _CRC.size
INDEX_HEAD_BYTES = _INDEX.size
SEEK_FOOTER_BYTES = _SEEK_FOOTER.size
SEEK_ENTRY_BYTES = _SEEK_ENTRY.size

PROLOGUE_START = SKIPPABLE_HEADER.pack(OUR_MAGIC, PROLOGUE_BYTES - 8) + PROLOGUE_TAG
DESCRIPTOR_START = SKIPPABLE_HEADER.pack(OUR_MAGIC, DESCRIPTOR_BYTES - 8) + DESCRIPTOR_TAG
SKIP_START = SKIPPABLE_HEADER.pack(OUR_MAGIC, SKIP_BYTES - 8) + SKIP_TAG

# Seek table descriptor: entries carry checksums, nothing else is set.
_WITH_CHECKSUMS = 0x80
_LAST_MASK_BIT = 31


class Prologue(NamedTuple):
    """First bytes of a file and start of a context.

    Attributes:
        major: format version; a reader refuses a higher one.
        minor: format version; a reader accepts any.
        flags: reserved, 0.
    """

    major: int
    minor: int
    flags: int


class Descriptor(NamedTuple):
    """What follows every frame: its commit marker.

    Attributes:
        compressed_size: bytes of the frame before it.
        raw_size: bytes of the frame decompressed.
        records: events in it; 0 marks a header frame.
        type_mask: bit min(type_id - 1, 31) is set for each type in it.
        first_seq: first sequence number it covers.
        last_seq: last sequence number it covers; dropped ones inside count.
        min_time: earliest event time, nanoseconds since 1970 UTC.
        max_time: latest event time.
    """

    compressed_size: int
    raw_size: int
    records: int
    type_mask: int
    first_seq: int
    last_seq: int
    min_time: int
    max_time: int


class SkipReason(enum.IntEnum):
    """Why a range of sequence numbers will never come."""

    UNSPECIFIED = 0
    SPOOL_LOST = 1
    CORRUPT = 2
    TOO_BIG = 3


class Skip(NamedTuple):
    """A range of sequence numbers that will never come.

    Attributes:
        first_seq: first sequence number of the range.
        last_seq: last sequence number of the range.
        reason: a SkipReason; unknown numbers are kept.
    """

    first_seq: int
    last_seq: int
    reason: int


class SeekEntry(NamedTuple):
    """One entry of the seek table: a frame of any kind.

    Attributes:
        compressed_size: bytes in the file.
        raw_size: bytes decompressed; 0 for skippable frames.
        checksum: low 32 bits of the XXH64 of the decompressed bytes: the last 4 bytes of the frame.
    """

    compressed_size: int
    raw_size: int
    checksum: int


def type_bit(type_id: int) -> int:
    """Return the bit of `type_id` in a type mask; types from 32 on share the last one."""
    return 1 << min(type_id - 1, _LAST_MASK_BIT)


# --- prologue ---------------------------------------------------------------------------------------------------


def pack_prologue() -> bytes:
    """Return the prologue of this version of the format."""
    return _PROLOGUE.pack(OUR_MAGIC, PROLOGUE_BYTES - 8, PROLOGUE_TAG, FORMAT_MAJOR, FORMAT_MINOR, 0)


def parse_prologue(data: bytes) -> Prologue | None:
    """Parse a prologue at the start of `data`.

    Raises:
        CorruptRecordError: the bytes are no prologue.
        UnsupportedRecordError: a newer major version.
    """
    _expect_start(data, PROLOGUE_START, "prologue")
    if len(data) < PROLOGUE_BYTES:
        return None
    _, _, _, major, minor, flags = _PROLOGUE.unpack_from(data)
    if major > FORMAT_MAJOR:
        raise UnsupportedRecordError(
            f"the format is version {major}.{minor}, this reader knows up to {FORMAT_MAJOR}; update esper-telemetry"
        )
    if major == 0:
        raise CorruptRecordError("the prologue states format version 0, which never existed; run recover")
    return Prologue(major, minor, flags)


# --- descriptor -------------------------------------------------------------------------------------------------


def pack_descriptor(desc: Descriptor) -> bytes:
    """Return the descriptor of a frame."""
    body = _DESCRIPTOR.pack(OUR_MAGIC, DESCRIPTOR_BYTES - 8, DESCRIPTOR_TAG, *desc)
    return body + _CRC.pack(crc32(body))


def parse_descriptor(data: bytes) -> Descriptor | None:
    """Parse a descriptor at the start of `data`.

    Raises:
        CorruptRecordError: the bytes are no descriptor, or its checksum or sequence numbers are wrong.
    """
    _expect_start(data, DESCRIPTOR_START, "frame descriptor")
    if len(data) < DESCRIPTOR_BYTES:
        return None
    _expect_crc(data, _DESCRIPTOR.size, "frame descriptor")
    desc = Descriptor._make(_DESCRIPTOR.unpack_from(data)[3:])
    if desc.records and not 0 < desc.records <= desc.last_seq - desc.first_seq + 1:
        raise CorruptRecordError(
            f"the frame descriptor counts {desc.records:,} events in the range {desc.first_seq:,} to {desc.last_seq:,}"
        )
    return desc


def descriptor_at(data: bytes, start: int = 0) -> Descriptor | None:
    """Return the descriptor at `start`, or None if no valid one is there."""
    if data[start : start + len(DESCRIPTOR_START)] != DESCRIPTOR_START:
        return None
    try:
        return parse_descriptor(data[start : start + DESCRIPTOR_BYTES])
    except CorruptRecordError:
        return None


# --- skip -------------------------------------------------------------------------------------------------------


def pack_skip(skip: Skip) -> bytes:
    """Return the marker of a range that will never come."""
    body = _SKIP.pack(OUR_MAGIC, SKIP_BYTES - 8, SKIP_TAG, skip.reason, skip.first_seq, skip.last_seq, 0)
    return body + _CRC.pack(crc32(body))


def parse_skip(data: bytes) -> Skip | None:
    """Parse a skip marker at the start of `data`.

    Raises:
        CorruptRecordError: the bytes are no skip marker, or its checksum or range is wrong.
    """
    _expect_start(data, SKIP_START, "skip marker")
    if len(data) < SKIP_BYTES:
        return None
    _expect_crc(data, _SKIP.size, "skip marker")
    _, _, _, reason, first_seq, last_seq, _ = _SKIP.unpack_from(data)
    if last_seq < first_seq:
        raise CorruptRecordError(f"the skip marker covers {first_seq:,} to {last_seq:,}, which is no range")
    return Skip(first_seq, last_seq, reason)


# --- index ------------------------------------------------------------------------------------------------------


def pack_index(index: bytes) -> bytes:
    """Return the index frame that holds `index`, a serialized Index message."""
    return _INDEX.pack(OUR_MAGIC, len(index) + INDEX_HEAD_BYTES - 8, INDEX_TAG, crc32(index)) + index


def parse_index(data: bytes) -> bytes | None:
    """Return the serialized Index message of the index frame at the start of `data`.

    Raises:
        CorruptRecordError: the bytes are no index frame, or its checksum is wrong.
        UnsupportedRecordError: it is over the limit of the format.
    """
    _expect_start(data, OUR_MAGIC, "index")
    _expect_start(data[8:], INDEX_TAG, "index")
    if len(data) < INDEX_HEAD_BYTES:
        return None
    _, size, _, checksum = _INDEX.unpack_from(data)
    if size > MAX_INDEX_BYTES:
        raise UnsupportedRecordError(f"the index takes {size:,} bytes, over the format's limit of {MAX_INDEX_BYTES:,}")
    if size < INDEX_HEAD_BYTES - 8:
        raise CorruptRecordError(f"the index states {size} bytes, less than its own head")
    if len(data) < size + 8:
        return None
    body = data[INDEX_HEAD_BYTES : size + 8]
    if crc32(body) != checksum:
        raise CorruptRecordError(f"the index has CRC-32 {crc32(body):08x} and states {checksum:08x}")
    return bytes(body)


# --- seek table (the official Zstandard Seekable Format) -----------------------------------------------------------


def seek_table_bytes(entries: int) -> int:
    """Return the size of a seek table with so many entries."""
    return SKIPPABLE_HEADER.size + entries * SEEK_ENTRY_BYTES + SEEK_FOOTER_BYTES


def seek_entry(frame: bytes, raw_size: int) -> SeekEntry:
    """Return the entry of a zstd frame with a checksum."""
    return SeekEntry(len(frame), raw_size, int.from_bytes(frame[-4:], "little"))


def pack_seek_table(entries: Iterable[SeekEntry]) -> bytes:
    """Return the seek table of a file: one entry for every frame before it, skippable ones with raw size 0."""
    packed = [_SEEK_ENTRY.pack(*entry) for entry in entries]
    return b"".join(
        (
            SKIPPABLE_HEADER.pack(SEEK_TABLE_MAGIC, len(packed) * SEEK_ENTRY_BYTES + SEEK_FOOTER_BYTES),
            *packed,
            _SEEK_FOOTER.pack(len(packed), _WITH_CHECKSUMS, SEEKABLE_MAGIC),
        )
    )


def parse_seek_footer(data: bytes) -> int:
    """Return the number of entries of the seek table that ends with the 9 bytes `data`.

    Raises:
        CorruptRecordError: the bytes do not end a seek table of ours.
    """
    if len(data) != SEEK_FOOTER_BYTES or data[-4:] != SEEKABLE_MAGIC:
        raise CorruptRecordError("no seek table ends here")
    entries, descriptor, _ = _SEEK_FOOTER.unpack(data)
    if descriptor != _WITH_CHECKSUMS:
        raise CorruptRecordError(f"the seek table has descriptor {descriptor:#04x}, not {_WITH_CHECKSUMS:#04x}")
    return int(entries)


def parse_seek_table(data: bytes) -> list[SeekEntry] | None:
    """Parse a whole seek table.

    Raises:
        CorruptRecordError: the bytes are no seek table, or its sizes disagree.
    """
    _expect_start(data, SEEK_TABLE_MAGIC, "seek table")
    if len(data) < SKIPPABLE_HEADER.size:
        return None
    _, size = SKIPPABLE_HEADER.unpack_from(data)
    if size < SEEK_FOOTER_BYTES or (size - SEEK_FOOTER_BYTES) % SEEK_ENTRY_BYTES:
        raise CorruptRecordError(f"the seek table states {size:,} bytes, which is no whole number of entries")
    end = SKIPPABLE_HEADER.size + size
    if len(data) < end:
        return None
    count = parse_seek_footer(data[end - SEEK_FOOTER_BYTES : end])
    if seek_table_bytes(count) != end:
        raise CorruptRecordError(f"the seek table has {size:,} bytes and counts {count:,} entries")
    body = data[SKIPPABLE_HEADER.size : end - SEEK_FOOTER_BYTES]
    return [SeekEntry._make(entry) for entry in _SEEK_ENTRY.iter_unpack(body)]


# --- shared -----------------------------------------------------------------------------------------------------


def is_skippable(data: bytes) -> bool:
    """Tell whether `data` starts with one of the sixteen skippable magics of Zstandard."""
    return data[1:4] == SKIPPABLE_TAIL and data[0] & 0xF0 == 0x50  # noqa: PLR2004 - magics 0x184D2A50 to 0x184D2A5F


def _expect_start(data: bytes, start: bytes, what: str) -> None:
    found = data[: len(start)]
    if found != start[: len(found)]:
        raise CorruptRecordError(f"no {what} is here: expected {start.hex(' ')}, found {found.hex(' ')}")


def _expect_crc(data: bytes, size: int, what: str) -> None:
    (expected,) = _CRC.unpack_from(data, size)
    found = crc32(data[:size])
    if found != expected:
        raise CorruptRecordError(f"the {what} has CRC-32 {found:08x} and states {expected:08x}")
