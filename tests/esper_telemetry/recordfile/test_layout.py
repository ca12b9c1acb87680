"""One table for both directions and every prefix: what is packed is parsed, and what is cut needs more."""

from __future__ import annotations

import struct
from zlib import crc32

import pytest

from esper_telemetry.errors import CorruptRecordError, UnsupportedRecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.layout import Descriptor, Prologue, SeekEntry, Skip

DESCRIPTOR = Descriptor(1000, 5000, 20, 0x80000003, 100, 119, 1_760_000_000_000_000_000, 1_760_000_000_000_000_009)
ENTRIES = [SeekEntry(24, 0, 0), SeekEntry(1000, 5000, 0xDEADBEEF), SeekEntry(64, 0, 0)]

# What it is, its parser, the value, and the bytes as record-format writes them.
TABLE = [
    (
        "prologue",
        layout.parse_prologue,
        Prologue(1, 0, 0),
        bytes.fromhex("572a4d18 10000000") + b"ESPERREC" + bytes.fromhex("0100 0000 00000000"),
    ),
    (
        "descriptor",
        layout.parse_descriptor,
        DESCRIPTOR,
        (
            body := bytes.fromhex("572a4d18 38000000")
            + b"EFRM"
            + struct.pack("<IIIIQQQQ", 1000, 5000, 20, 0x80000003, 100, 119, DESCRIPTOR.min_time, DESCRIPTOR.max_time)
        )
        + struct.pack("<I", crc32(body)),
    ),
    (
        "skip",
        layout.parse_skip,
        Skip(7, 9, 2),
        (skip := bytes.fromhex("572a4d18 20000000") + b"ESKP" + struct.pack("<IQQI", 2, 7, 9, 0))
        + struct.pack("<I", crc32(skip)),
    ),
    (
        "index",
        layout.parse_index,
        b"any message",
        bytes.fromhex("572a4d18 13000000") + b"EIDX" + struct.pack("<I", crc32(b"any message")) + b"any message",
    ),
    (
        "seek table",
        layout.parse_seek_table,
        ENTRIES,
        bytes.fromhex("5e2a4d18 2d000000")
        + b"".join(struct.pack("<III", *entry) for entry in ENTRIES)
        + bytes.fromhex("03000000 80 b1ea928f"),
    ),
]
PACK = {
    "prologue": lambda _: layout.pack_prologue(),
    "descriptor": layout.pack_descriptor,
    "skip": layout.pack_skip,
    "index": layout.pack_index,
    "seek table": layout.pack_seek_table,
}
SIZES = {"prologue": 24, "descriptor": 64, "skip": 40}

each = pytest.mark.parametrize(("name", "parse", "value", "data"), TABLE, ids=[row[0] for row in TABLE])


@each
def test_a_value_is_packed_into_the_bytes_of_the_specification(name, parse, value, data):
    assert PACK[name](value) == data
    assert len(data) == SIZES.get(name, len(data))


@each
def test_the_bytes_are_parsed_into_the_value_whatever_follows(name, parse, value, data):
    assert parse(data) == value
    assert parse(data + b"more") == value


@each
def test_every_prefix_needs_more(name, parse, value, data):
    for cut in range(len(data)):
        assert parse(data[:cut]) is None, cut


@each
def test_every_flipped_bit_is_refused_or_changes_the_value(name, parse, value, data):
    for at in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            try:
                parsed = parse(bytes(flipped))
            except (CorruptRecordError, UnsupportedRecordError):
                continue
            assert parsed != value


@pytest.mark.parametrize("name", ["descriptor", "skip", "index"])
def test_a_structure_with_a_checksum_lets_no_bit_flip_through(name):
    _, parse, _, data = next(row for row in TABLE if row[0] == name)
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 0x10
        try:
            assert parse(bytes(flipped)) is None  # a length that asks for more
        except (CorruptRecordError, UnsupportedRecordError):
            continue


def test_a_newer_major_version_is_refused_and_a_newer_minor_one_is_read():
    data = bytearray(layout.pack_prologue())
    data[18] = 9
    assert layout.parse_prologue(bytes(data)) == Prologue(1, 9, 0)
    data[16] = 2
    with pytest.raises(UnsupportedRecordError, match=r"version 2\.9.*update"):
        layout.parse_prologue(bytes(data))


def test_a_descriptor_that_counts_more_events_than_numbers_is_refused():
    data = layout.pack_descriptor(DESCRIPTOR._replace(records=21))
    with pytest.raises(CorruptRecordError, match="counts 21 events in the range 100 to 119"):
        layout.parse_descriptor(data)


def test_an_index_over_the_limit_is_refused_before_it_is_read():
    with pytest.raises(UnsupportedRecordError, match="67,108,864"):
        layout.parse_index(struct.pack("<4sI4sI", layout.OUR_MAGIC, layout.MAX_INDEX_BYTES + 1, b"EIDX", 0))


def test_types_beyond_the_mask_share_its_last_bit():
    assert [layout.type_bit(n) for n in (1, 2, 31, 32, 33, 5000)] == [1, 2, 1 << 30, 1 << 31, 1 << 31, 1 << 31]


def test_all_sixteen_skippable_magics_are_known_and_no_other():
    magics = [bytes([low]) + layout.SKIPPABLE_TAIL for low in range(256)]
    assert [magic[0] for magic in magics if layout.is_skippable(magic)] == list(range(0x50, 0x60))
