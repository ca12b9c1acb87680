"""One segment read forward, against what the reader of record files says of it."""

from esper_telemetry.recordfile import RecordReader, Skip
from esper_telemetry.recordfile.layout import pack_skip
from esper_telemetry.uplink.frames import SegmentFrames


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
