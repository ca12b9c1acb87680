from __future__ import annotations

import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import zstandard

from esper_telemetry.errors import CorruptRecordError, UnsupportedRecordError
from esper_telemetry.recordfile.frame import FrameDecoder, FrameEncoder, frame_length, parse_frame_header

RAW = b"".join(b"event %d;" % number for number in range(3000))
# Random bytes do not compress: their frame has several raw blocks.
NOISE = random.Random(1).randbytes(300_000)


@pytest.mark.parametrize("raw", [b"x", RAW, bytes(700_000), NOISE], ids=["tiny", "text", "zeros", "noise"])
def test_a_frame_gives_back_its_bytes_and_knows_its_length(raw):
    frame = FrameEncoder(3).encode(raw)
    assert FrameDecoder().decode(frame, len(raw)) == raw
    assert frame_length(frame + b"next") == len(frame)
    assert frame_length(b"ab" + frame, 2) == len(frame)
    assert parse_frame_header(frame).raw_size == len(raw)


@pytest.mark.parametrize("raw", [b"x", RAW, RAW[:2000], bytes(700_000), NOISE])
def test_smaller_tables_cost_next_to_no_bytes(raw):
    plain = zstandard.ZstdCompressor(level=3, write_checksum=True).compress(raw)
    assert len(FrameEncoder(3).encode(raw)) <= len(plain) * 1.01 + 8


def test_every_prefix_of_a_frame_is_too_short():
    frame = FrameEncoder(3).encode(RAW)
    for cut in range(len(frame)):
        assert frame_length(frame[:cut]) is None
        with pytest.raises(CorruptRecordError):
            FrameDecoder().decode(frame[:cut], len(RAW))


def test_every_flipped_byte_is_found():
    frame = FrameEncoder(3).encode(RAW)
    decoder = FrameDecoder()
    for at in range(len(frame)):
        flipped = bytearray(frame)
        flipped[at] ^= 0x41
        with pytest.raises((CorruptRecordError, UnsupportedRecordError)):
            decoder.decode(bytes(flipped), len(RAW))


def test_a_second_frame_behind_the_first_is_refused_not_ignored():
    frame = FrameEncoder(3).encode(RAW)
    with pytest.raises(CorruptRecordError, match="unused data"):
        FrameDecoder().decode(frame + frame, len(RAW))


def test_a_size_that_differs_from_the_descriptor_is_refused():
    with pytest.raises(CorruptRecordError, match=f"states {len(RAW):,} raw bytes, its descriptor 10"):
        FrameDecoder().decode(FrameEncoder(3).encode(RAW), 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"write_content_size": False, "write_checksum": True}, "states no raw bytes"),
        ({"write_checksum": False}, "no checksum"),
    ],
)
def test_a_frame_without_size_or_checksum_is_refused(options, message):
    frame = zstandard.ZstdCompressor(**options).compress(RAW)
    with pytest.raises(UnsupportedRecordError, match=message):
        FrameDecoder().decode(frame, len(RAW))


def test_a_frame_that_needs_a_dictionary_is_refused():
    dictionary = zstandard.train_dictionary(4096, [b"sample %d of the dictionary" % n for n in range(2000)])
    frame = zstandard.ZstdCompressor(dict_data=dictionary, write_checksum=True).compress(RAW)
    with pytest.raises(UnsupportedRecordError, match=f"dictionary {dictionary.dict_id()}"):
        FrameDecoder().decode(frame, len(RAW))


def test_a_window_over_the_limit_is_refused():
    parameters = zstandard.ZstdCompressionParameters(window_log=24, write_checksum=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    pieces = compressor.compressobj(size=len(RAW))
    frame = bytearray(pieces.compress(RAW) + pieces.flush())
    frame[4] &= ~0x20  # not a single segment: a window descriptor stands behind it
    frame[5:5] = b"\x70"  # 2^24 bytes
    with pytest.raises(UnsupportedRecordError, match="window of 16,777,216"):
        parse_frame_header(bytes(frame))


def test_bytes_that_are_no_frame_are_refused():
    with pytest.raises(CorruptRecordError, match="no zstd frame is here: found 6e 6f 74 68"):
        parse_frame_header(b"nothing here")
    with pytest.raises(CorruptRecordError, match="no zstd frame"):
        frame_length(b"nothing here")


def test_a_cut_frame_gives_its_whole_blocks_and_nothing_else():
    frame = FrameEncoder(3).encode(NOISE)
    decoder = FrameDecoder()
    start = decoder.decode_start(frame[:-1000])
    assert start
    assert NOISE.startswith(start)
    assert decoder.decode_start(frame[:10]) == b""
    assert decoder.decode_start(b"nothing here") == b""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a program is read from /proc")
def test_a_bomb_is_refused_before_a_byte_of_it_is_allocated():
    code = """
        import re, zstandard
        from esper_telemetry.errors import UnsupportedRecordError
        from esper_telemetry.recordfile.frame import FrameDecoder
        def peak():  # of this program: ru_maxrss would be the test's, if that is larger
            return int(re.search(r"VmHWM:\\s+([0-9]+)", open("/proc/self/status").read())[1])
        compressor = zstandard.ZstdCompressor(write_checksum=True).compressobj(size=1 << 30)
        parts = [compressor.compress(bytes(1 << 20)) for _ in range(1 << 10)]
        bomb = b"".join([*parts, compressor.flush()])
        decoder = FrameDecoder()
        before = peak()
        for size in (1 << 30, 4096):
            try:
                decoder.decode(bomb, size)
            except UnsupportedRecordError as error:
                assert "1,073,741,824" in str(error)
            else:
                raise SystemExit("the bomb was not refused")
        decoder.decode_start(bomb)
        print(len(bomb), peak() - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, timeout=120
    )
    size, grown_kib = map(int, done.stdout.split())
    assert size < 128 * 1024
    assert grown_kib < 10 * 1024


def test_a_frame_of_nothing_is_whole():
    """Its one block is empty: it ends with the header of that block."""
    frame = zstandard.ZstdCompressor(write_checksum=False).compress(b"")
    assert frame_length(frame, 0) == len(frame)
    assert frame_length(frame[:-1], 0) is None
