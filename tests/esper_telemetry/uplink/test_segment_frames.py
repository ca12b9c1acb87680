"""One segment read forward, against what the reader of record files says of it."""

import hashlib
import struct

from esper_telemetry.recordfile import RecordReader, Skip
from esper_telemetry.recordfile.layout import pack_skip
from esper_telemetry.schema.fingerprint import schema_fingerprint
from esper_telemetry.uplink.segment_frames import SegmentFrames, merge_headers
from esper_telemetry.v1 import record_pb2


def read_all(segment):
    found = []
    while (item := segment.read()) is not None:
        found.append(item)
    return found


def test_frames_come_with_their_descriptors_byte_for_byte(producer, kit):
    producer.write(frames=5).close()
    segment = SegmentFrames(producer.sink.path)
    frames = read_all(segment)
    assert [frame.payload for frame in frames] == kit.frames(producer.sink.paths)
    assert [(frame.first_seq, frame.last_seq) for frame in frames] == [(n, n + 9) for n in range(1, 50, 10)]
    assert segment.closed
    assert segment.ended


def test_every_prefix_of_a_file_gives_its_whole_frames_and_growing_it_gives_the_rest(producer, kit, tmp_path):
    data = producer.write(frames=3, per_frame=4).close().sink.path.read_bytes()
    whole = kit.frames(producer.sink.paths)
    path = tmp_path / "growing.esr.zst"
    path.write_bytes(b"")
    with path.open("ab", buffering=0) as file, RecordReader(producer.sink.path) as reader:
        ends = [frame.end for frame in reader.frames()]
        segment = SegmentFrames(path)
        found = []
        for size in range(len(data)):
            found += [frame.payload for frame in read_all(segment)]
            assert found == whole[: sum(end <= size for end in ends)]
            assert not segment.ended
            file.write(data[size : size + 1])
        assert read_all(segment) == []
        assert segment.closed
    assert segment.damages == []


def test_seek_goes_to_the_frame_that_covers_a_number(producer):
    producer.write(frames=6).close()
    for seq in range(1, 62):
        segment = SegmentFrames(producer.sink.path)
        segment.seek(seq)
        frames = read_all(segment)
        assert [frame.first_seq for frame in frames] == [n for n in range(1, 60, 10) if n + 9 >= seq]
        assert segment.closed


def test_seek_past_a_declaration_keeps_its_types(producer, kit):
    producer.write().sink.write(kit.batch(11, 5, new_types=[(2, kit.epoch)]))
    producer.close()
    segment = SegmentFrames(producer.sink.path)
    segment.seek(11)
    assert [entry.type_id for entry in segment.read().schema.header.types] == [1, 2]


def test_damage_is_passed_over_and_said(producer):
    producer.write(frames=4, noise=40).close()
    path = producer.sink.path
    with RecordReader(path) as reader:
        second = list(reader.frames())[1]
    data = bytearray(path.read_bytes())
    data[second.offset : second.offset + 40] = bytes(40)
    path.write_bytes(data)
    segment = SegmentFrames(path)
    assert [frame.first_seq for frame in read_all(segment)] == [1, 21, 31]
    assert segment.damaged
    assert len(segment.damages) == 1
    assert str(path) in segment.damages[0]


def test_a_skip_in_the_file_is_passed_on(producer, tmp_path):
    producer.write(frames=1).die()
    path = tmp_path / "collected.esr.zst"
    path.write_bytes(producer.sink.path.read_bytes() + pack_skip(Skip(11, 20, 2)))
    segment = SegmentFrames(path)
    assert segment.read().last_seq == 10
    assert segment.read() == Skip(11, 20, 2)


def test_a_file_joined_from_two_is_two_segments(producer, kit, tmp_path):
    other = kit.Producer(tmp_path, rank=1).write(frames=2).close()
    first = producer.write(frames=3).close().sink.path.read_bytes()
    joined = tmp_path / "joined.esr.zst"
    joined.write_bytes(first + other.sink.path.read_bytes())
    for start, expected in ((0, kit.frames(producer.sink.paths)), (len(first), kit.frames(other.sink.paths))):
        segment = SegmentFrames(joined, start)
        segment.seek(1)
        assert [frame.payload for frame in read_all(segment)] == expected
        assert segment.ended


def test_the_fingerprint_is_the_one_the_protocol_describes():
    header = record_pb2.Header(file_descriptor_set=b"descriptors")
    header.types.add(type_id=2, full_name="b.Second")
    header.types.add(type_id=1, full_name="a.First")
    expected = b""
    for number, name in ((1, b"a.First"), (2, b"b.Second")):
        expected += struct.pack("<II", number, len(name)) + name
    assert schema_fingerprint(header) == hashlib.sha256(expected + b"descriptors").digest()


def test_nothing_but_types_and_descriptors_is_in_the_fingerprint():
    one = record_pb2.Header(run_id="a", host="x", segment=1)
    other = record_pb2.Header(run_id="b", host="y", segment=7)
    assert schema_fingerprint(one) == schema_fingerprint(other)


def test_merged_headers_hold_what_the_file_declares(producer, kit):
    producer.write().sink.write(kit.batch(11, 5, new_types=[(2, kit.epoch)]))
    producer.close()
    with RecordReader(producer.sink.path) as reader:
        segment = reader.segments[0]
        further = record_pb2.Header(file_descriptor_set=b"".join(segment.descriptor_sets))
        further.types.extend(segment.header.types)
    spool = producer.spool()
    first = spool.schema
    frames = kit.drain(spool)
    assert frames[0].schema == first
    assert frames[1].schema.fingerprint == schema_fingerprint(further) != first.fingerprint
    assert {entry.type_id: entry.full_name for entry in frames[1].schema.header.types} == reader.types


def test_a_single_header_is_its_own_merge():
    header = record_pb2.Header(run_id="a", file_descriptor_set=b"x")
    assert merge_headers([header]).header == header
