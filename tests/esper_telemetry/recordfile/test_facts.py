from __future__ import annotations

import tracemalloc

import pytest

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.facts import contradiction, facts_of, frame_facts
from esper_telemetry.recordfile.frame_events import event_columns, parse_envelopes, parse_events
from esper_telemetry.recordfile.index import FrameRanges
from esper_telemetry.recordfile.layout import Descriptor
from esper_telemetry.schema.event_block import Field, encode_block, encode_column
from esper_telemetry.v1 import record_pb2
from esper_telemetry.v1.context_pb2 import Context


def events(*rows) -> list[record_pb2.Event]:
    return [record_pb2.Event(type_id=type_id, seq=seq, time_unix_nano=time) for type_id, seq, time in rows]


FACTS = facts_of(events((2, 5, 100), (1, 7, 90), (2, 9, 120)))


def test_the_events_say_their_count_range_times_and_types():
    assert (3, 5, 9, 90, 120, {1: 1, 2: 2}, FrameRanges()) == FACTS
    assert FACTS.descriptor(10, 20) == (10, 20, 3, 0b11, 5, 9, 90, 120)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, ""),
        ({"first_seq": 1, "last_seq": 30}, ""),
        ({"records": 4}, "counts 4 events, the frame holds 3"),
        ({"first_seq": 6}, "covers sequence numbers 6 to 9, the frame holds 5 to 9"),
        ({"last_seq": 8}, "covers sequence numbers 5 to 8"),
        ({"type_mask": 1}, "type mask 0x1, the events make 0x3"),
        ({"max_time": 121}, "spans 90 to 121"),
    ],
)
def test_a_descriptor_is_compared_with_them(change, message):
    said = contradiction(FACTS.descriptor(10, 20)._replace(**change), FACTS)
    assert message in said
    assert bool(message) == bool(said)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(1, 5, 0), (1, 5, 0)], "sequence number 5 follows 5"),
        ([(1, 5, 0), (1, 4, 0)], "sequence number 4 follows 5"),
        ([(0, 5, 0)], "no type or no sequence number"),
        ([(1, 0, 0)], "no type or no sequence number"),
    ],
)
def test_events_that_break_the_order_are_refused(rows, message):
    with pytest.raises(CorruptRecordError, match=message):
        facts_of(events(*rows))
    with pytest.raises(CorruptRecordError, match=message):
        frame_facts(record_pb2.RecordFile(event=events(*rows)).SerializeToString())


@pytest.mark.parametrize(
    ("parse", "records"),
    [(parse_events, None), (parse_events, 5), (parse_envelopes, 5), (event_columns, 5), (frame_facts, None)],
)
def test_many_empty_events_are_refused_before_they_are_parsed(parse, records):
    desc = None if records is None else Descriptor(0, 0, records, 0, 1, 9, 0, 0)
    raw = b"\x12\x00" * (1 << 19)  # just over the largest frame of a writer
    tracemalloc.start()
    with pytest.raises(CorruptRecordError, match="holds more than the"):
        parse(raw) if desc is None else parse(raw, desc)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_large_frame_of_few_events_is_parsed():
    raw = record_pb2.RecordFile(event=[{"type_id": 1, "seq": 1, "payload": b"\x12" * 3_000_000}]).SerializeToString()
    assert len(parse_events(raw, Descriptor(0, 0, 1, 0, 1, 1, 0, 0))) == 1


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
        frame_facts(raw)


def test_where_events_happened_is_told_of_those_that_came_alone_and_by_column():
    single = record_pb2.Event(
        type_id=1, time_unix_nano=9, seq=1, context=Context(batch_idx=9, step=1)
    ).SerializeToString()
    raw = b"\x12" + bytes([len(single)]) + single
    raw += encode_block(2, [2, 3, 5], [9, 9, 9], [encode_column(Field(4, 4), [7, 8, 2**64 - 1])], [])
    raw += encode_block(3, [4, 6, 7], [9, 9, 9], [encode_column(Field(8, 4), [3, 3, 3])], [])
    facts = frame_facts(raw)
    assert facts.ranges == FrameRanges(batch_idx=(7, 2**64 - 1), step=(1, 3))
    assert facts == facts_of(list(parse_events(raw)))
    plain = record_pb2.RecordFile(event=events((2, 5, 100), (1, 7, 90))).SerializeToString()
    assert frame_facts(plain).ranges == FrameRanges()
