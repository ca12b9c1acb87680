"""What a record says of itself, had from a frame or two."""

from __future__ import annotations

from collections import Counter

from esper_telemetry.decode.landmarks import Landmarks, causes_in
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.v1 import run_pb2

REPORT = run_pb2.DropReport(drops=[{"full_name": "x.Y", "cause": "DROP_CAUSE_BUFFER_FULL", "count": 3}])


def test_the_first_and_the_last_event_of_a_run_are_found(record_run):
    (path,) = record_run(name="first").iterdir()
    with RecordReader(path) as reader:
        landmarks = Landmarks(reader, reader.segments[0])
        assert landmarks.started["name"] == "first"
        assert landmarks.finished["outcome"] == "completed"
        assert landmarks.drops == Counter()
        assert landmarks.begins_run


def test_a_segment_without_them_has_none(write_record, scalars):
    for frames in ([], [scalars(3)]):
        path = write_record(*frames)
        with RecordReader(path) as reader:
            landmarks = Landmarks(reader, reader.segments[0])
            assert (landmarks.started, landmarks.finished, landmarks.drops) == ({}, {}, Counter())
        path.unlink()


def test_reports_of_losses_are_added_up_by_cause(write_record, scalars):
    with RecordReader(write_record(scalars(3), [(REPORT, {})], scalars(2), [(REPORT, {})] * 2)) as reader:
        assert Landmarks(reader, reader.segments[0]).drops == Counter(buffer_full=9)


def test_a_damaged_frame_says_nothing_and_raises_nothing(write_record, scalars):
    path = write_record([(run_pb2.RunStarted(name="x"), {})], scalars(2))
    data = bytearray(path.read_bytes())
    with RecordReader(path) as reader:
        first = next(reader.frames())
    data[first.offset + 15] ^= 0xFF
    with RecordReader(bytes(data)) as reader:
        assert Landmarks(reader, reader.segments[0]).started == {}


def test_a_cause_that_is_not_said_is_unknown():
    assert causes_in({"drops": [{"count": 2}, {"cause": "invalid", "count": 1}]}) == Counter(unknown=2, invalid=1)
    assert causes_in({}) == Counter()
