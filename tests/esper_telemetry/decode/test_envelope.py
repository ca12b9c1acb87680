"""The envelope with its context left as bytes parses to what record.proto parses to."""

from __future__ import annotations

import pytest

from esper_telemetry.decode.envelope import parse_frame
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import RecordReader


def test_both_envelopes_say_the_same(write_record, scalars):
    with RecordReader(write_record(scalars(50, env_id=3, device="cpu"))) as reader:
        (frame,) = reader.frames()
        lean = parse_frame(reader.decompress(frame), frame, "x")
        full = reader.read_frame(frame)
    assert [(e.type_id, e.time_unix_nano, e.seq, e.context, e.payload) for e in lean] == [
        (e.type_id, e.time_unix_nano, e.seq, e.context.SerializeToString(), e.payload) for e in full
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"records": 49}, "holds 50 events, its descriptor says 49"),
        ({"first_seq": 2}, "holds numbers 1 to 50"),
        ({"last_seq": 49}, "holds numbers 1 to 50"),
    ],
)
def test_events_that_the_descriptor_does_not_describe_are_refused(write_record, scalars, changes, reason):
    with RecordReader(write_record(scalars(50))) as reader:
        (frame,) = reader.frames()
        raw = reader.decompress(frame)
    with pytest.raises(CorruptRecordError, match=reason):
        parse_frame(raw, frame._replace(**changes), "x")


def test_bytes_that_are_no_events_are_refused(write_record, scalars):
    with RecordReader(write_record(scalars(5))) as reader:
        (frame,) = reader.frames()
    with pytest.raises(CorruptRecordError, match="holds no events"):
        parse_frame(b"\x12\xff", frame, "x")
