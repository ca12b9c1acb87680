from __future__ import annotations

from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.compaction import compact_file
from esper_telemetry.recordfile.frame import FrameDecoder, FrameEncoder
from esper_telemetry.recordfile.frame_events import parse_events
from esper_telemetry.recordfile.full_frames import MOST_EVENTS, Messages, NewFrame, event_groups, new_frame
from esper_telemetry.schema.batch import MAX_BATCH_BYTES
from esper_telemetry.schema.descriptors import SchemaPool

_encode = FrameEncoder(3).encode


def raw_of(made: NewFrame) -> bytes:
    return FrameDecoder().decode(made.data[: made.desc.compressed_size], made.desc.raw_size)


def opened(data) -> tuple[RecordReader, Messages]:
    reader = RecordReader(data)
    pool = SchemaPool()
    for one in reader.descriptor_sets:
        pool.add(one)
    return reader, Messages(pool, reader.types)


def test_groups_of_a_frame_are_its_events(records):
    reader, messages = opened(records.bytes(frames=1, per_frame=500))
    (frame,) = reader.frames()
    groups = event_groups(reader.decompress(frame), frame, messages)
    made = new_frame(groups, (frame.first_seq, frame.last_seq), _encode)
    assert list(parse_events(raw_of(made), made.desc)) == reader.read_frame(frame)
    assert made.desc.records == 500
    assert made.type_counts.total() == 500
    assert made.desc.compressed_size < frame.compressed_size


def test_events_before_a_number_can_be_left_out_of_blocks_and_of_single_ones(records):
    reader, messages = opened(records.bytes(frames=1, per_frame=90))
    (frame,) = reader.frames()
    events = reader.read_frame(frame)
    raw, desc = reader.decompress(frame), frame
    for _ in range(2):  # single events, then blocks
        for first in (1, 2, 45, 90):
            groups = event_groups(raw, desc, messages, first)
            made = new_frame(groups, (first, 90), _encode)
            assert list(parse_events(raw_of(made), made.desc)) == events[first - 1 :]
        made = new_frame(event_groups(raw, desc, messages), (1, 90), _encode)
        raw, desc = raw_of(made), made.desc
    assert event_groups(raw, desc, messages, 91) == []


def test_fields_of_a_later_version_are_not_lost(records):
    reader, messages = opened(records.bytes(frames=1, per_frame=5))
    (frame,) = reader.frames()
    raw = reader.decompress(frame)
    assert event_groups(raw, frame, messages) is not None
    assert event_groups(raw + b"\xd2\x0f\x01x", frame, messages) is None


def test_frames_stay_within_their_limits_and_are_nearly_full(records):
    path = records.write(frames=400, per_frame=300)
    done = compact_file(path, force=True)
    assert not done.kept
    with RecordReader(path) as reader:
        frames = list(reader.frames())
        assert all(frame.raw_size <= MAX_BATCH_BYTES and frame.records <= MOST_EVENTS for frame in frames)
        assert len(frames) <= 8
        assert sum(frame.records for frame in frames) == 120_000


def test_a_frame_that_would_be_larger_than_a_frame_may_be_is_placed_as_it_came(records, monkeypatch):
    path = records.write(frames=3, per_frame=40)
    with RecordReader(path) as reader:
        before = [reader.decompress(frame) for frame in reader.frames()]
    monkeypatch.setattr("esper_telemetry.recordfile.full_frames.MAX_BATCH_BYTES", 100)
    done = compact_file(path, force=True)
    assert done.kept.startswith("it would take")  # it was made, and read the same
    with RecordReader(path) as reader:
        assert [reader.decompress(frame) for frame in reader.frames()] == before
        assert reader.damage == []
