"""Every way to read the events of a frame gives the same events, and refuses the same bytes."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import example, given, settings
from hypothesis import strategies as st

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.facts import facts_of, frame_facts
from esper_telemetry.recordfile.frame_events import (
    count_strict,
    element_spans,
    event_columns,
    frame_content,
    parse_envelopes,
    parse_events,
    stated_columns,
    whole_events,
)
from esper_telemetry.recordfile.frame_messages import COLUMNS, ENVELOPES, STRICT, frame_class
from esper_telemetry.recordfile.layout import Descriptor
from esper_telemetry.schema.envelope import encode_varint, frame_event
from esper_telemetry.schema.event_block import Field, encode_block, encode_column, encode_payload_block
from esper_telemetry.v1 import context_pb2, record_pb2
from tests.esper_telemetry.recordfile.conftest import element

TYPE, TIME, SEQ, CONTEXT, PAYLOAD = 1, 2, 3, 4, 5
CPU = context_pb2.Context(env_id=3, device="cpu").SerializeToString()


def varint_field(number: int, value: int) -> bytes:
    return encode_varint(number << 3) + encode_varint(value)


def fixed_field(number: int, value: int) -> bytes:
    return encode_varint(number << 3 | 1) + value.to_bytes(8, "little")


def bytes_field(number: int, value: bytes) -> bytes:
    return encode_varint(number << 3 | 2) + encode_varint(len(value)) + value


def event(*fields: bytes) -> bytes:
    return bytes_field(2, b"".join(fields))


def plain(seq: int, type_id: int = 1, time: int = 7, context: bytes = b"", payload: bytes = b"") -> bytes:
    return frame_event(type_id, time, seq, context, payload)


def rows_of_messages(raw: bytes) -> list[tuple]:
    return [
        (one.type_id, one.time_unix_nano, one.seq, one.context.SerializeToString(), one.payload)
        for one in parse_events(raw)
    ]


def rows_of_envelopes(raw: bytes) -> list[tuple]:
    return [(one.type_id, one.time_unix_nano, one.seq, one.context, one.payload) for one in parse_envelopes(raw)]


def rows_of_columns(raw: bytes) -> list[tuple]:
    return list(zip(*event_columns(raw), strict=True))


def rows_of_elements(raw: bytes) -> list[tuple]:
    spans = list(element_spans(raw))
    assert [start for start, _, _ in spans] == [0, *(end for _, _, end in spans)][: len(spans)]
    return [row for _, body, end in spans for row in rows_of_messages(bytes_field(2, raw[body:end]))]


def rows_of_whole(raw: bytes) -> list[tuple]:
    events, used = whole_events(raw)
    assert used == len(raw)
    return [(one.type_id, one.time_unix_nano, one.seq, one.context.SerializeToString(), one.payload) for one in events]


READINGS = [rows_of_messages, rows_of_envelopes, rows_of_columns, rows_of_elements, rows_of_whole]

# Frames, and what they hold: type, time, sequence number, context and payload of each event.
FRAMES = {
    "one event": (plain(1), [(1, 7, 1, b"", b"")]),
    "contexts and payloads": (
        plain(1, context=CPU, payload=b"x") + plain(2, 3, 9, CPU, b"y" * 300),
        [(1, 7, 1, CPU, b"x"), (3, 9, 2, CPU, b"y" * 300)],
    ),
    "a context here and there": (
        plain(1) + plain(2, context=CPU) + plain(5, payload=b"z"),
        [(1, 7, 1, b"", b""), (1, 7, 2, CPU, b""), (1, 7, 5, b"", b"z")],
    ),
    "large numbers": (
        plain(1 << 40, 1 << 20, (1 << 63) + 5, b"", b"p"),
        [(1 << 20, (1 << 63) + 5, 1 << 40, b"", b"p")],
    ),
    "no payload stated": (
        event(varint_field(TYPE, 1), fixed_field(TIME, 7), varint_field(SEQ, 5)),
        [(1, 7, 5, b"", b"")],
    ),
    "no time stated": (
        event(varint_field(TYPE, 1), varint_field(SEQ, 5)) + plain(6),
        [(1, 0, 5, b"", b""), (1, 7, 6, b"", b"")],
    ),
    "a number stated twice": (
        event(varint_field(TYPE, 1), fixed_field(TIME, 7), varint_field(SEQ, 1), varint_field(SEQ, 2)) + plain(3),
        [(1, 7, 2, b"", b""), (1, 7, 3, b"", b"")],
    ),
    "fields in another order": (
        event(bytes_field(PAYLOAD, b"p"), varint_field(SEQ, 5), fixed_field(TIME, 7), varint_field(TYPE, 2)),
        [(2, 7, 5, b"", b"p")],
    ),
    "a field of a later version": (
        event(varint_field(TYPE, 1), fixed_field(TIME, 7), varint_field(SEQ, 5), bytes_field(900, b"new")),
        [(1, 7, 5, b"", b"")],
    ),
}  # fmt: skip

REFUSED = {
    "nothing": b"",
    "a header": bytes_field(1, b"") + plain(1),
    "a header after the events": plain(1) + bytes_field(1, b""),
    "a cut event": plain(1)[:-1],
    "no protobuf": b"\x12\xff",
    "an event that is no protobuf": event(b"\xff"),
}


@pytest.mark.parametrize("read", READINGS, ids=lambda read: read.__name__)
@pytest.mark.parametrize("name", FRAMES)
def test_every_reading_of_a_frame_gives_the_same_events(name, read):
    raw, expected = FRAMES[name]
    assert read(raw) == expected


@pytest.mark.parametrize("read", READINGS[:3], ids=lambda read: read.__name__)
@pytest.mark.parametrize("name", REFUSED)
def test_every_reading_refuses_what_is_no_frame_of_events(name, read):
    with pytest.raises(CorruptRecordError, match="the frame holds"):
        read(REFUSED[name])


@pytest.mark.parametrize("parse", [parse_events, parse_envelopes, event_columns], ids=lambda parse: parse.__name__)
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"records": 49}, "holds 50 events, its descriptor states 49"),
        ({"first_seq": 2}, "holds sequence numbers 1 to 50, its descriptor states 2 to 60"),
        ({"last_seq": 49}, "holds sequence numbers 1 to 50, its descriptor states 1 to 49"),
    ],
)
def test_events_that_the_descriptor_does_not_describe_are_refused(records, parse, changes, reason):
    raw = records.batch(1, 50).raw
    desc = Descriptor(0, len(raw), 50, 0, 1, 60, 0, 0)
    assert len(parse(raw, desc)) in (50, 5)
    with pytest.raises(CorruptRecordError, match=reason):
        parse(raw, desc._replace(**changes))


def test_a_field_of_an_event_is_known_to_every_reading():
    declared = {field.number: field.name for field in record_pb2.Event.DESCRIPTOR.fields}
    for view in (ENVELOPES, COLUMNS, STRICT):
        event_class = frame_class(view).DESCRIPTOR.fields_by_name["event"].message_type
        assert {field.number: field.name for field in event_class.fields} == declared


def test_a_reader_gives_a_frame_as_messages_as_envelopes_and_by_column(records):
    with RecordReader(records.write(frames=2, per_frame=50)) as reader:
        for frame in reader.frames():
            events = reader.read_frame(frame)
            expected = [(e.type_id, e.time_unix_nano, e.seq, e.context.SerializeToString(), e.payload) for e in events]
            assert list(zip(*event_columns(reader.decompress(frame), frame), strict=True)) == expected
            lean = reader.read_envelopes(frame)
            assert [(e.type_id, e.time_unix_nano, e.seq, e.context, e.payload) for e in lean] == expected


def test_columns_that_may_not_line_up_are_not_given():
    for name in ("no time stated", "a number stated twice"):
        raw, expected = FRAMES[name]
        assert stated_columns(raw, len(expected)) is None
    raw, expected = FRAMES["contexts and payloads"]
    assert [list(column) for column in stated_columns(raw, 2)] == [[1, 3], [7, 9], [1, 2]]
    assert stated_columns(raw, 3) is None
    assert stated_columns(b"\x12\xff", 1) is None


# --- elements of a frame that may be cut ------------------------------------------------------------------------------


def elements_of(count: int) -> list[bytes]:
    rng = random.Random(count)
    return [element(seq, rng)[2] for seq in range(1, count + 1)]


def test_every_prefix_gives_exactly_its_whole_events():
    elements = elements_of(20)
    raw = b"".join(elements)
    ends = [sum(map(len, elements[: count + 1])) for count in range(len(elements))]
    assert [end for _, _, end in element_spans(raw)] == ends
    for cut in range(len(raw) + 1):
        whole = sum(end <= cut for end in ends)
        assert len(list(element_spans(raw[:cut]))) == whole
        events, used = whole_events(raw[:cut])
        assert (len(events), used) == (whole, ends[whole - 1] if whole else 0)


def test_whole_events_end_where_something_else_begins():
    elements = elements_of(20)
    half = b"".join(elements[:10])
    for rest in (b"\x0a\x00", b"\x12\x02\xff\xff", b"\x12\xff\xff\xff\xff\xff\xff\x01", elements[3]):
        assert len(whole_events(half + rest + b"".join(elements))[0]) == 10


def test_what_is_no_element_is_refused():
    with pytest.raises(CorruptRecordError, match="raw byte 0 of the frame starts no event: 0x0a"):
        list(element_spans(b"\x0a\x00"))
    with pytest.raises(CorruptRecordError, match="length over every limit"):
        list(element_spans(b"\x12" + b"\xff" * 9))


# --- facts by column, which a forged frame must not deceive -----------------------------------------------------------

TWO_NUMBERS = event(varint_field(TYPE, 1), fixed_field(TIME, 7), varint_field(SEQ, 1), varint_field(SEQ, 2))
NO_NUMBER = event(varint_field(TYPE, 1), fixed_field(TIME, 7))
PACKED = event(varint_field(TYPE, 1), fixed_field(TIME, 7), bytes_field(SEQ, b"\x02"))


def by_looking(raw: bytes):
    """Return what each event states; None where it is refused."""
    try:
        return facts_of(parse_events(raw))
    except CorruptRecordError:
        return None


def facts_or_none(raw: bytes):
    try:
        return frame_facts(raw)
    except CorruptRecordError:
        return None


def test_a_frame_of_the_writer_is_strict_and_its_facts_are_those_of_each_event():
    raw = b"".join(frame_event(1 + n % 3, 100 + n % 7, n, b"", b"x" * n) for n in range(1, 500))
    assert count_strict(raw) == 499
    assert frame_facts(raw) == by_looking(raw) is not None


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(TWO_NUMBERS + NO_NUMBER, id="a number twice, and one that is missing"),
        pytest.param(plain(1) + PACKED, id="a number packed, which is none"),
        pytest.param(plain(1) + event(bytes_field(SEQ, b"\x02\x03")) + event(), id="two numbers in one that has none"),
        pytest.param(plain(1) + event(), id="an event without anything"),
        pytest.param(plain(1) + plain(1), id="a number again"),
        pytest.param(plain(0), id="the number zero"),
        pytest.param(plain(1, type_id=0), id="the type zero"),
        pytest.param(plain(1) + event(varint_field(SEQ, 2), bytes_field(CONTEXT, b"\xff")), id="a broken context"),
        *(pytest.param(raw, id=name) for name, raw in REFUSED.items()),
    ],
)
def test_what_is_forged_has_no_facts(raw):
    assert by_looking(raw) is None
    with pytest.raises(CorruptRecordError):
        frame_facts(raw)


FIELDS = st.one_of(
    st.builds(varint_field, st.sampled_from([TYPE, TIME, SEQ, CONTEXT, PAYLOAD]), st.integers(0, 6)),
    st.builds(fixed_field, st.sampled_from([TYPE, TIME, SEQ]), st.integers(0, 6)),
    st.builds(bytes_field, st.integers(1, 6), st.binary(max_size=9)),
)
EVENTS = st.one_of(
    st.builds(plain, st.integers(0, 1 << 40), st.integers(0, 40), st.integers(0, 6)),
    st.lists(FIELDS, max_size=6).map(lambda fields: event(*fields)),
    FIELDS,
)


@given(st.lists(EVENTS, max_size=5).map(b"".join))
@example(TWO_NUMBERS + NO_NUMBER)
@settings(max_examples=1500, deadline=None)
def test_facts_by_column_are_never_other_than_those_of_each_event(raw):
    assert facts_or_none(raw) == by_looking(raw)


@given(st.lists(EVENTS, max_size=5).map(b"".join))
@settings(max_examples=500, deadline=None)
def test_what_one_reading_gives_the_others_give_too(raw):
    try:
        expected = rows_of_messages(raw)
    except CorruptRecordError:
        return
    lean = rows_of_envelopes(raw)
    assert [row[:3] + row[4:] for row in lean] == [row[:3] + row[4:] for row in expected]
    if count_strict(raw):
        assert rows_of_columns(raw) == lean


@given(st.lists(st.tuples(st.integers(1, 1 << 40), st.integers(1, 99)), min_size=1), st.integers(1, 1 << 63))
@settings(deadline=None)
def test_rising_numbers_are_facts_whatever_their_values(rows, time):
    rows = sorted(dict(rows).items())
    raw = b"".join(plain(seq, type_id, time) for seq, type_id in rows)
    facts = frame_facts(raw)
    assert facts == by_looking(raw)
    assert all(before < after for before, after in pairwise(event_columns(raw).seqs))
    assert (facts.first_seq, facts.last_seq) == (rows[0][0], rows[-1][0])


# --- blocks -----------------------------------------------------------------------------------------------------------


def mixed_frame() -> tuple[bytes, list[tuple]]:
    """Return a frame of events and two blocks whose sequence numbers interleave, and the rows it holds."""
    where = encode_column(Field(8, FieldDescriptor.TYPE_UINT64), [3, 4, 5])
    names = encode_column(Field(1, FieldDescriptor.TYPE_STRING), ["a", "b", "a"])
    rows = [(1, 7, 2, b"", b"x"), (1, 8, 5, CPU, b""), (1, 9, 9, b"", b"y")]
    rows += [(4, 100 + at, 3 + 3 * at, bytes([0x40, 3 + at]), b"\x0a\x01" + b"aba"[at : at + 1]) for at in range(3)]
    rows += [(2, 50, seq, b"", b"%d" % seq) for seq in (4, 7, 8)]
    raw = b"".join(plain(seq, kind, time, context, payload) for kind, time, seq, context, payload in rows[:3])
    raw += encode_block(4, [3, 6, 10], [100, 101, 102], [where], [names])
    raw += encode_payload_block(2, [4, 7, 8], [50] * 3, [], [b"4", b"7", b"8"])
    rows[3:6] = [(4, 100 + at, seq, *rows[3 + at][3:]) for at, seq in enumerate((3, 6, 10))]
    return raw, sorted(rows, key=lambda row: row[2])


@pytest.mark.parametrize("read", [rows_of_messages, rows_of_envelopes, rows_of_columns, rows_of_whole])
def test_events_and_blocks_come_in_the_order_of_their_sequence_numbers(read):
    raw, rows = mixed_frame()
    assert read(raw) == rows


def test_blocks_alone_are_a_frame():
    raw = encode_payload_block(2, [4, 7, 8], [50] * 3, [], [b"4", b"7", b"8"])
    assert rows_of_columns(raw) == rows_of_messages(raw) == [(2, 50, seq, b"", b"%d" % seq) for seq in (4, 7, 8)]


def test_facts_count_the_events_of_blocks():
    raw, rows = mixed_frame()
    facts = frame_facts(raw)
    assert facts == facts_of(list(parse_events(raw)))
    assert (facts.records, facts.first_seq, facts.last_seq) == (9, 2, 10)
    assert (facts.min_time, facts.max_time, facts.type_counts) == (7, 102, {1: 3, 2: 3, 4: 3})
    assert count_strict(raw) == len(rows)
    stated = stated_columns(raw, len(rows))
    assert list(zip(*stated, strict=True)) == [row[:3] for row in rows]


def test_content_gives_columns_without_an_object_for_an_event():
    raw, rows = mixed_frame()
    content = frame_content(raw, Descriptor(0, 0, len(rows), 0, 1, 10, 0, 0))
    assert [one.seq for one in content.events] == [2, 5, 9]
    first, second = content.blocks
    assert (first.type_id, first.context[8].values(), first.columns[1].values()) == (4, [3, 4, 5], ["a", "b", "a"])
    assert list(second.payloads) == [b"4", b"7", b"8"]
    with pytest.raises(CorruptRecordError, match="holds 9 events, its descriptor states 8"):
        frame_content(raw, Descriptor(0, 0, 8, 0, 1, 10, 0, 0))
    with pytest.raises(CorruptRecordError, match="holds sequence numbers 2 to 10"):
        frame_content(raw, Descriptor(0, 0, 9, 0, 3, 10, 0, 0))


def test_a_sequence_number_in_two_elements_is_refused():
    raw = plain(7) + encode_payload_block(2, [4, 7, 8], [50] * 3, [], [b"", b"", b""])
    with pytest.raises(CorruptRecordError, match="sequence number 7 follows 7"):
        frame_facts(raw)
    assert [one.seq for one in whole_events(raw)[0]] == [7]


def test_every_cut_of_blocks_keeps_the_elements_that_are_whole():
    raw, _ = mixed_frame()
    ends = [end for _, _, end in element_spans(raw)]
    counts = [1, 2, 3, 6, 9]
    for cut in range(len(raw)):
        whole = sum(end <= cut for end in ends)
        events, used = whole_events(raw[:cut])
        assert (len(events), used) == (([0, *counts])[whole], [0, *ends][whole])


def test_a_damaged_block_is_refused_by_all():
    raw = record_pb2.RecordFile(
        block=[record_pb2.EventBlock(type_id=1, events=2, first_seq=1, seq_steps=b"\0", time_steps=b"\1")]
    ).SerializeToString()
    for read in (parse_events, parse_envelopes, event_columns, frame_content, frame_facts):
        with pytest.raises(CorruptRecordError):
            read(raw)
    assert count_strict(raw) == 0
    assert whole_events(raw) == ([], 0)
