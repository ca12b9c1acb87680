"""Every way to read the events of a frame gives the same events, and refuses the same bytes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.facts import facts_of, frame_facts
from esper_telemetry.recordfile.frame_events import (
    _COLUMNS,
    _ENVELOPES,
    _STRICT,
    _view,
    count_strict,
    element_spans,
    event_columns,
    parse_envelopes,
    parse_events,
    stated_columns,
    whole_events,
)
from esper_telemetry.recordfile.layout import Descriptor
from esper_telemetry.schema.envelope import encode_varint, frame_event
from esper_telemetry.v1 import context_pb2, record_pb2

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
    raw = b"".join(records.batch(1, 50).events)
    desc = Descriptor(0, len(raw), 50, 0, 1, 60, 0, 0)
    assert len(parse(raw, desc)) in (50, 5)
    with pytest.raises(CorruptRecordError, match=reason):
        parse(raw, desc._replace(**changes))


def test_a_field_of_an_event_is_known_to_every_reading():
    declared = {field.number: field.name for field in record_pb2.Event.DESCRIPTOR.fields}
    for view in (_ENVELOPES, _COLUMNS, _STRICT):
        event_class = _view(view).DESCRIPTOR.fields_by_name["event"].message_type
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


def test_every_prefix_gives_exactly_its_whole_events(records):
    elements = records.batch(1, 20).events
    raw = b"".join(elements)
    ends = [sum(map(len, elements[: count + 1])) for count in range(len(elements))]
    assert [end for _, _, end in element_spans(raw)] == ends
    for cut in range(len(raw) + 1):
        whole = sum(end <= cut for end in ends)
        assert len(list(element_spans(raw[:cut]))) == whole
        events, used = whole_events(raw[:cut])
        assert (len(events), used) == (whole, ends[whole - 1] if whole else 0)


def test_whole_events_end_where_something_else_begins(records):
    elements = records.batch(1, 20).events
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
