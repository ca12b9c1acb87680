from __future__ import annotations

from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.same_content import Content


def content(data) -> Content:
    found = Content()
    with RecordReader(data) as reader:
        for segment in reader.segments:
            found.segment(segment)
            for frame in segment.frames:
                found.events(reader.read_columns(frame))
    return found


def test_the_same_events_are_the_same_and_one_other_byte_is_not(records):
    data = records.bytes(frames=3, per_frame=40)
    assert content(data) == content(records.bytes(frames=3, per_frame=40))
    for other in (
        records.bytes(frames=3, per_frame=41),
        records.bytes(frames=2, per_frame=40),
        records.bytes(frames=3, per_frame=40, pid=2),
        records.bytes(frames=3, per_frame=40, previous_last_seq=1),
    ):
        assert content(data) != content(other)
