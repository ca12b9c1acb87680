"""What is read as columns is what looking at each event gives, whatever was forged; anything else is left to that."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from esper_telemetry.collector.columns import column_facts
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.facts import frame_facts, parse_frame
from esper_telemetry.schema.envelope import encode_varint, frame_event
from tests.esper_telemetry.collector.publisher import Produced, element

TYPE, TIME, SEQ, CONTEXT, PAYLOAD = 1, 2, 3, 4, 5


def varint_field(number: int, value: int) -> bytes:
    return encode_varint(number << 3) + encode_varint(value)


def fixed_field(number: int, value: int) -> bytes:
    return encode_varint(number << 3 | 1) + value.to_bytes(8, "little")


def bytes_field(number: int, value: bytes) -> bytes:
    return encode_varint(number << 3 | 2) + encode_varint(len(value)) + value


def event(*fields: bytes) -> bytes:
    return bytes_field(2, b"".join(fields))


def plain(seq: int, type_id: int = 1, time: int = 7) -> bytes:
    return event(varint_field(TYPE, type_id), fixed_field(TIME, time), varint_field(SEQ, seq))


def by_looking(raw: bytes):
    """Return what facts.py says; None where it refuses."""
    try:
        return frame_facts(parse_frame(raw))
    except CorruptRecordError:
        return None


def test_a_frame_of_the_writer_is_read_as_columns():
    raw = b"".join(frame_event(1 + n % 3, 100 + n % 7, n, b"", b"x" * n) for n in range(1, 500))
    assert column_facts(raw) == by_looking(raw) is not None
    assert Produced(frames=1).batches[0].count == 25
    assert column_facts(element(1) + element(2)) == by_looking(element(1) + element(2)) is not None


TWO_NUMBERS = event(varint_field(TYPE, 1), fixed_field(TIME, 7), varint_field(SEQ, 1), varint_field(SEQ, 2))
NO_NUMBER = event(varint_field(TYPE, 1), fixed_field(TIME, 7))
PACKED = event(varint_field(TYPE, 1), fixed_field(TIME, 7), bytes_field(SEQ, b"\x02"))


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
        pytest.param(bytes_field(1, b"") + plain(1), id="a header"),
        pytest.param(plain(1) + event(varint_field(SEQ, 2), bytes_field(CONTEXT, b"\xff")), id="a broken context"),
        pytest.param(plain(1)[:-1], id="cut"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_is_forged_is_not_taken(raw):
    assert by_looking(raw) is None
    assert column_facts(raw) is None


def test_what_is_unusual_and_right_is_left_to_who_looks():
    for raw in (event(varint_field(TYPE, 1), varint_field(SEQ, 5)), TWO_NUMBERS):
        assert by_looking(raw) is not None
        assert column_facts(raw) is None


def test_fields_of_a_later_version_are_passed_over():
    raw = event(varint_field(TYPE, 1), fixed_field(TIME, 7), varint_field(SEQ, 5), bytes_field(900, b"new"))
    assert column_facts(raw) == by_looking(raw) is not None


def test_a_large_frame_of_empty_events_is_left_to_who_counts_before_parsing():
    assert column_facts(b"\x12\x00" * (2 << 20)) is None


NUMBERS = st.integers(0, 6)
FIELDS = st.one_of(
    st.builds(varint_field, st.sampled_from([TYPE, TIME, SEQ, CONTEXT, PAYLOAD]), NUMBERS),
    st.builds(fixed_field, st.sampled_from([TYPE, TIME, SEQ]), NUMBERS),
    st.builds(bytes_field, st.integers(1, 6), st.binary(max_size=9)),
)
EVENTS = st.one_of(
    st.builds(plain, st.integers(0, 1 << 40), st.integers(0, 40), NUMBERS),
    st.lists(FIELDS, max_size=6).map(lambda fields: event(*fields)),
    FIELDS,
)


@given(st.lists(EVENTS, max_size=5).map(b"".join))
@example(TWO_NUMBERS + NO_NUMBER)
@settings(max_examples=1500, deadline=None)
def test_columns_never_say_anything_else_than_looking_at_each_event(raw):
    facts = column_facts(raw)
    assert facts is None or facts == by_looking(raw)


@given(st.lists(st.tuples(st.integers(1, 1 << 40), st.integers(1, 99)), min_size=1), st.integers(1, 1 << 63))
@settings(deadline=None)
def test_plain_events_are_read_whatever_their_values(rows, time):
    rows = sorted(dict(rows).items())
    raw = b"".join(plain(seq, type_id, time) for seq, type_id in rows)
    assert column_facts(raw) == by_looking(raw) is not None
