"""One zstd frame: compressed, measured, checked before anything is allocated, decompressed.

The only module of the SDK that imports zstandard. python-zstandard ignores
`max_output_size` when a frame states its size, stops silently after the first of several
frames and returns what there is of a cut stream, so sizes and framing are checked here.
"""

from __future__ import annotations

from typing import NamedTuple

import zstandard

try:
    from isal.isal_zlib import crc32
except ImportError:
    from zlib import crc32

from esper_telemetry.errors import CorruptRecordError, UnsupportedRecordError
from esper_telemetry.recordfile.layout import MAX_RAW_BYTES, MAX_WINDOW_BYTES, ZSTD_MAGIC

# The CRC-32 is for whole frames: ISA-L (the extra `collector`) takes 5 us for 256 KiB where zlib takes 61, a tenth of
# what such a frame costs either end of a stream. Small structures use zlib: there is nothing to gain.
__all__ = ["FrameDecoder", "FrameEncoder", "FrameHeader", "crc32", "frame_length", "parse_frame_header"]

# Frame_Header_Descriptor and Block_Header, RFC 8878 sections 3.1.1.1 and 3.1.1.2.
_SINGLE_SEGMENT = 0x20
_CHECKSUM = 0x04
_DICTIONARY_ID_BYTES = (0, 1, 2, 4)
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)
_BLOCK_HEADER_BYTES = 3
_RLE_BLOCK = 1
_RESERVED_BLOCK = 3
_CHECKSUM_BYTES = 4
_LONGEST_HEADER = 18
# The level of a run that is written beside training, and the size that its parameters are for. Its tables of 0.5 MiB
# would be fetched into a processor's cache anew for each frame: with 64 KiB each a frame takes 0.7 of the time, and its
# columns of some KiB, which are like each other, the same bytes within a thousandth.
_WRITING_LEVEL, _USUAL_FRAME, _TABLE_LOG = 3, 256 * 1024, 14


class FrameHeader(NamedTuple):
    """What the header of a zstd frame states.

    Attributes:
        raw_size: bytes it decompresses to.
        window_size: memory a decoder needs for its window.
    """

    raw_size: int
    window_size: int


class FrameEncoder:
    """Compresses frames: content size and XXH64 on, no dictionary. Not for use by two threads at once."""

    def __init__(self, level: int) -> None:
        if level == _WRITING_LEVEL:
            parameters = zstandard.ZstdCompressionParameters.from_level(
                level,
                source_size=_USUAL_FRAME,
                window_log=MAX_RAW_BYTES.bit_length(),
                hash_log=_TABLE_LOG,
                chain_log=_TABLE_LOG,
                write_checksum=True,
                write_content_size=True,
                write_dict_id=False,
            )
            self._compress = zstandard.ZstdCompressor(compression_params=parameters).compress
        else:
            self._compress = zstandard.ZstdCompressor(
                level=level, write_checksum=True, write_content_size=True, write_dict_id=False
            ).compress

    def encode(self, raw: bytes) -> bytes:
        """Return `raw` as one zstd frame."""
        return self._compress(raw)


class FrameDecoder:
    """Decompresses frames after checking what their headers state. Not for use by two threads at once."""

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)

    def decode(self, frame: bytes, raw_size: int) -> bytes:
        """Return the bytes of `frame`, their XXH64 verified.

        Args:
            frame: exactly one zstd frame.
            raw_size: the size its descriptor gives.

        Raises:
            CorruptRecordError: sizes disagree, bytes are missing or left over, or the checksum does not match.
            UnsupportedRecordError: it is over a limit, needs a dictionary or has no size or checksum.
        """
        header = parse_frame_header(frame)
        if header is None:
            raise CorruptRecordError(f"the frame of {len(frame)} bytes is too short for a zstd frame")
        if header.raw_size != raw_size:
            raise CorruptRecordError(f"the frame states {header.raw_size:,} raw bytes, its descriptor {raw_size:,}")
        try:
            raw = self._decompressor.decompress(frame, max_output_size=raw_size, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise CorruptRecordError(f"the frame does not decompress: {_reason(error)}") from None
        if len(raw) != raw_size:
            raise CorruptRecordError(f"the frame gave {len(raw):,} raw bytes and states {raw_size:,}")
        return raw

    def decode_start(self, frame: bytes) -> bytes:
        """Return what the whole blocks of a cut frame hold; nothing verifies it.

        The result is empty where the frame is cut inside its header or over a limit.
        """
        try:
            header = parse_frame_header(frame)
            return b"" if header is None else self._decompressor.decompressobj().decompress(frame)[: header.raw_size]
        except (CorruptRecordError, UnsupportedRecordError, zstandard.ZstdError):
            return b""


def parse_frame_header(frame: bytes) -> FrameHeader | None:
    """Read the header of the zstd frame at the start of `frame`; None when more bytes are needed.

    Raises:
        CorruptRecordError: no zstd frame starts here.
        UnsupportedRecordError: a frame this format does not allow, or over a limit.
    """
    if frame[:4] != ZSTD_MAGIC[: len(frame)]:
        raise CorruptRecordError(f"no zstd frame is here: found {frame[:4].hex(' ')}")
    try:
        found = zstandard.get_frame_parameters(frame[:_LONGEST_HEADER])
    except zstandard.ZstdError as error:
        if "not enough data" in str(error):
            return None
        raise CorruptRecordError(f"the zstd frame header is invalid: {_reason(error)}") from None
    if found.dict_id:
        raise UnsupportedRecordError(f"the frame needs the dictionary {found.dict_id}; record files use none")
    if found.content_size > MAX_RAW_BYTES:
        size = "no" if found.content_size in _NO_SIZE else f"{found.content_size:,}"
        raise UnsupportedRecordError(f"the frame states {size} raw bytes; the format's limit is {MAX_RAW_BYTES:,}")
    if found.window_size > MAX_WINDOW_BYTES:
        raise UnsupportedRecordError(
            f"the frame needs a window of {found.window_size:,} bytes; the format's limit is {MAX_WINDOW_BYTES:,}"
        )
    if not found.has_checksum:
        raise UnsupportedRecordError("the frame has no checksum; record files always have one")
    return FrameHeader(found.content_size, found.window_size)


def frame_length(data: bytes, start: int = 0) -> int | None:
    """Return the length of the zstd frame at `start` from its block headers; None when it is not whole.

    Raises:
        CorruptRecordError: no zstd frame is there.
    """
    if data[start : start + 4] != ZSTD_MAGIC[: len(data) - start]:
        raise CorruptRecordError(f"no zstd frame is here: found {data[start : start + 4].hex(' ')}")
    if len(data) < start + 5:
        return None
    flags = data[start + 4]
    single = bool(flags & _SINGLE_SEGMENT)
    sizes = _CONTENT_SIZE_BYTES[flags >> 6] or int(single)
    at = start + 5 + (not single) + _DICTIONARY_ID_BYTES[flags & 3] + sizes
    last = False
    while not last:
        if len(data) < at + _BLOCK_HEADER_BYTES:
            return None
        block = int.from_bytes(data[at : at + _BLOCK_HEADER_BYTES], "little")
        last, kind = bool(block & 1), block >> 1 & 3
        if kind == _RESERVED_BLOCK:
            raise CorruptRecordError("the frame has a block of a reserved kind")
        at += _BLOCK_HEADER_BYTES + (1 if kind == _RLE_BLOCK else block >> 3)
    end = at + (_CHECKSUM_BYTES if flags & _CHECKSUM else 0)
    return end - start if end <= len(data) else None


# CONTENTSIZE_UNKNOWN and CONTENTSIZE_ERROR of zstd.h, as unsigned numbers.
_NO_SIZE = ((1 << 64) - 1, (1 << 64) - 2)


def _reason(error: zstandard.ZstdError) -> str:
    return str(error).removeprefix("decompression error: ")
