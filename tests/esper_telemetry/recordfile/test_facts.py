from __future__ import annotations

import tracemalloc

import pytest

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.facts import contradiction, frame_facts, parse_frame
from esper_telemetry.v1 import record_pb2


def events(*rows) -> list[record_pb2.Event]:
    return [record_pb2.Event(type_id=type_id, seq=seq, time_unix_nano=time) for type_id, seq, time in rows]


FACTS = frame_facts(events((2, 5, 100), (1, 7, 90), (2, 9, 120)))


def test_the_events_say_their_count_range_times_and_types():
    assert FACTS == (3, 5, 9, 90, 120, {1: 1, 2: 2})
    assert FACTS.descriptor(10, 20) == (10, 20, 3, 0b11, 5, 9, 90, 120)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, ""),
        ({"first_seq": 1, "last_seq": 30}, ""),
        ({"records": 4}, "counts 4 events, the frame holds 3"),
        ({"first_seq": 6}, "covers numbers 6 to 9, the frame holds 5 to 9"),
        ({"last_seq": 8}, "covers numbers 5 to 8"),
        ({"type_mask": 1}, "type mask 0x1, the events make 0x3"),
        ({"max_time": 121}, "spans 90 to 121"),
    ],
)
def test_a_descriptor_is_held_against_them(change, message):
    said = contradiction(FACTS.descriptor(10, 20)._replace(**change), FACTS)
    assert message in said
    assert bool(message) == bool(said)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(1, 5, 0), (1, 5, 0)], "number 5 stands behind number 5"),
        ([(1, 5, 0), (1, 4, 0)], "number 4 stands behind number 5"),
        ([(0, 5, 0)], "no type or no number"),
        ([(1, 0, 0)], "no type or no number"),
    ],
)
def test_events_that_break_the_order_are_refused(rows, message):
    with pytest.raises(CorruptRecordError, match=message):
        frame_facts(events(*rows))


def test_a_count_that_differs_from_the_descriptor_is_refused():
    raw = record_pb2.RecordFile(event=events((1, 1, 0), (1, 2, 0))).SerializeToString()
    assert len(parse_frame(raw, 2)) == 2
    with pytest.raises(CorruptRecordError, match="holds 2 events, its descriptor says 3"):
        parse_frame(raw, 3)


@pytest.mark.parametrize("records", [None, 5])
def test_millions_of_empty_events_are_refused_before_they_are_parsed(records):
    raw = b"\x12\x00" * (2 << 20)
    tracemalloc.start()
    with pytest.raises(CorruptRecordError, match="holds more than the"):
        parse_frame(raw, records)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_large_frame_of_few_events_is_parsed():
    raw = record_pb2.RecordFile(event=[{"type_id": 1, "seq": 1, "payload": b"\x12" * 3_000_000}]).SerializeToString()
    assert len(parse_frame(raw, 1)) == 1


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\xff", "holds no events"),
        (b"", "0 headers and 0 events"),
        (record_pb2.RecordFile(header=[{}]).SerializeToString(), "1 headers and 0 events"),
    ],
)
def test_a_frame_of_something_else_is_refused(raw, message):
    with pytest.raises(CorruptRecordError, match=message):
        parse_frame(raw)
