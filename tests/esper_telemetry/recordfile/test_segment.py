from __future__ import annotations

from esper_telemetry.recordfile import RecordReader, layout
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.segment import assemble
from esper_telemetry.recordfile.source import BytesSource
from esper_telemetry.recordfile.walk import walk


def assembled(data: bytes):
    source = BytesSource(data)
    return assemble(source, FrameDecoder(), list(walk(source)))


def test_a_segment_knows_its_extent_and_its_numbers(records):
    data = records.bytes(frames=3, per_frame=10)
    (segment,) = assembled(data).segments
    assert (segment.offset, segment.end, segment.records, segment.last_seq) == (0, len(data), 30, 30)
    assert segment.closed
    assert segment.damage == []


def test_a_lost_prologue_does_not_mix_two_contexts(records):
    one = records.bytes(frames=1, per_frame=10, close=False)
    scalar = [one for one in records.types if one[0] == records.scalar]
    two = bytearray(records.bytes(frames=1, per_frame=10, file_id=b"x" * 16, types=scalar, close=False))
    two[:24] = bytes(24)
    reader = RecordReader(one + bytes(two))
    assert [len(segment.types) for segment in reader.segments] == [2, 1]
    assert [segment.header.file_id for segment in reader.segments] == [bytes(range(16, 32)), b"x" * 16]


def test_frames_without_a_header_are_told_as_lost(records):
    one = records.bytes(frames=1, per_frame=10, close=False)
    two = records.bytes(frames=1, per_frame=10, close=False)
    frame = next(RecordReader(two).frames())
    reader = RecordReader(one + two[:24] + two[frame.offset :])
    assert len(reader.segments) == 1
    (damage,) = reader.damage
    assert "without a header" in str(damage)
    assert (damage.first_seq, damage.last_seq) == (1, 10)


def test_damage_before_a_footer_is_known_by_the_descriptor_that_survived(records):
    data = bytearray(records.bytes(frames=2, per_frame=10))
    frame = list(RecordReader(bytes(data)).frames())[-1]
    data[frame.offset] ^= 0xFF
    data[-1] ^= 0xFF
    (segment,) = assembled(bytes(data)).segments
    assert (segment.damage[0].first_seq, segment.damage[0].last_seq) == (11, 20)
    assert not segment.closed


def test_a_damaged_later_header_is_told(records):
    first, later = records.types[:1], records.types[1:]
    from esper_telemetry.recordfile import RecordWriter

    writer = RecordWriter(records.path(), records.header(), first)
    writer.write(records.batch(1, 10, new_types=later))
    writer.abandon()
    data = bytearray(writer.path.read_bytes())
    offset, desc = RecordReader(bytes(data)).segments[0].headers[1]
    data[offset + 20 : offset + desc.compressed_size - 20] = bytes(desc.compressed_size - 40)
    reader = RecordReader(bytes(data))
    assert "a header frame is damaged" in str(reader.damage[0])
    assert reader.records == 10
    assert layout.DESCRIPTOR_BYTES == 64
