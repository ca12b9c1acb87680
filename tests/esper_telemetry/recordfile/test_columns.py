from __future__ import annotations

import pytest

from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.columns import columns
from esper_telemetry.v1 import record_pb2


def test_columns_say_what_the_events_say(records):
    reader = RecordReader(records.write(frames=2, per_frame=50))
    for frame in reader.frames():
        events = reader.read_frame(frame)
        found = columns(reader.decompress(frame), len(events))
        assert [list(column) for column in found] == [
            [event.type_id for event in events],
            [event.time_unix_nano for event in events],
            [event.seq for event in events],
        ]


@pytest.mark.parametrize(
    "raw",
    [
        record_pb2.RecordFile(event=[{"type_id": 1, "seq": 1}, {"type_id": 1, "seq": 2, "time_unix_nano": 3}]),
        record_pb2.RecordFile(event=[{"type_id": 1, "seq": 1, "time_unix_nano": 3}]),
    ],
    ids=["a time is left out", "another number of events"],
)
def test_columns_that_do_not_line_up_are_none(raw):
    assert columns(raw.SerializeToString(), 2) is None


def test_a_field_that_is_stated_twice_is_none():
    event = record_pb2.Event(type_id=1, seq=1, time_unix_nano=3).SerializeToString()
    twice = event + record_pb2.Event(seq=2).SerializeToString()
    assert columns(b"\x12" + bytes([len(twice)]) + twice, 1) is None


def test_what_is_no_frame_is_none():
    assert columns(b"\x12\xff", 1) is None
