"""Headers that are damaged, in files that stand alone: nothing but the damaged bytes is lost."""

from __future__ import annotations

import random

import pytest

from esper_telemetry.recordfile import RecordReader, RecordWriter, StreamFollower, recover, verify


def seqs(data, **options) -> list[int]:
    with RecordReader(data, **options) as reader:
        return [event.seq for event in reader.events(on_damage=lambda _: None)]


@pytest.fixture
def record(records, small_types):
    return records.bytes(frames=2, per_frame=10, types=small_types)


def header_end(record) -> int:
    return next(RecordReader(record).frames()).offset


def test_a_changed_bit_anywhere_before_the_first_frame_costs_no_event(record):
    # Every place once in two runs of a stride that has no factor in common with anything: 1 s instead of 40.
    for at in range(0, header_end(record), 53):
        damaged = bytearray(record)
        damaged[at] ^= 1 << at % 8
        assert seqs(bytes(damaged)) == list(range(1, 21)), at


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "killed"])
def test_a_stretch_of_zeros_in_a_header_is_made_good_and_told(records, closed):
    data = bytearray(records.bytes(frames=2, per_frame=10, close=closed))
    written = RecordReader(bytes(data)).header
    data[1_000:1_030] = bytes(30)
    reader = RecordReader(bytes(data))
    assert reader.header == written
    assert seqs(bytes(data)) == list(range(1, 21))
    assert reader.repairs == ["the header at byte 24 is damaged, and was made again from its parity"]
    assert reader.damage == []
    assert str(verify(bytes(data)).problems[0]) == reader.repairs[0]


def test_a_later_header_is_made_good_too(records):
    writer = RecordWriter(records.path(), records.header(), records.types)
    writer.write(records.batch(1, 10))
    writer.close()
    data = bytearray(writer.path.read_bytes())
    offset, desc = RecordReader(bytes(data)).segments[0].headers[1]
    data[offset + desc.compressed_size // 2] ^= 0xFF
    reader = RecordReader(bytes(data))
    assert list(reader.types) == [records.scalar, records.epoch]
    assert len(reader.repairs) == 1


def test_recovery_writes_the_header_as_it_was(records, tmp_path):
    path = records.write(frames=3, per_frame=10)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[1_000] ^= 0x10
    path.write_bytes(damaged)
    result = recover(path, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == whole
    assert result.complete
    assert "made again from its parity" in str(result.damage[str(path)][0])


def test_a_damaged_parity_costs_nothing_and_is_found_by_a_check(records, tmp_path):
    path = records.write(frames=2, per_frame=10)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[header_end(whole) - 60] ^= 1
    path.write_bytes(damaged)
    assert seqs(path) == list(range(1, 21))
    assert "parity" in " ".join(map(str, verify(path).problems))
    assert recover(path, tmp_path / "out").complete
    assert (tmp_path / "out").read_bytes() == whole


def test_a_follower_reads_behind_a_damaged_header(records):
    path = records.write(frames=2, per_frame=10, close=False)
    data = bytearray(path.read_bytes())
    data[1_500:1_530] = random.Random(3).randbytes(30)
    path.write_bytes(data)
    follower = StreamFollower(path)
    assert [event.seq for found in follower.poll() for event in found.events] == list(range(1, 21))
