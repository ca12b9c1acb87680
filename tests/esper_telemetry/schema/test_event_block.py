"""What goes into a block of events comes out of it, bit by bit, through the library's reader and through protobuf."""

from __future__ import annotations

import math
import random
import struct

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.block_columns import joined, parse_block
from esper_telemetry.recordfile.frame_messages import ENVELOPES, frame_class
from esper_telemetry.schema.event_block import (
    COLUMN_TYPES,
    MAX_CELLS,
    Field,
    encode_block,
    encode_column,
    encode_payload_block,
    steps_of,
)
from esper_telemetry.v1 import context_pb2, record_pb2, training_pb2
from tests.esper_telemetry.schema.foreign import foreign

I64 = st.integers(-(1 << 63), (1 << 63) - 1)
U64 = st.integers(0, (1 << 64) - 1)
I32, U32 = st.integers(-(1 << 31), (1 << 31) - 1), st.integers(0, (1 << 32) - 1)
SINGLE = st.floats(width=32)
DOUBLE = st.one_of(st.floats(), SINGLE)
_TYPE = FieldDescriptor
VALUES = {
    _TYPE.TYPE_DOUBLE: DOUBLE,
    _TYPE.TYPE_FLOAT: SINGLE,
    _TYPE.TYPE_INT32: I32,
    _TYPE.TYPE_INT64: I64,
    _TYPE.TYPE_UINT32: U32,
    _TYPE.TYPE_UINT64: U64,
    _TYPE.TYPE_SINT32: I32,
    _TYPE.TYPE_SINT64: I64,
    _TYPE.TYPE_FIXED32: U32,
    _TYPE.TYPE_FIXED64: U64,
    _TYPE.TYPE_SFIXED32: I32,
    _TYPE.TYPE_SFIXED64: I64,
    _TYPE.TYPE_ENUM: I32,
    _TYPE.TYPE_BOOL: st.booleans(),
    _TYPE.TYPE_STRING: st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
}


def parsed(element: bytes):
    (block,) = frame_class(ENVELOPES).FromString(element).block
    return parse_block(block)


def bits(value):
    return struct.pack("<d", value) if isinstance(value, float) else (type(value), value)


@st.composite
def column(draw):
    kind = draw(st.sampled_from(sorted(COLUMN_TYPES)))
    count = draw(st.integers(1, 40))
    few = draw(st.lists(VALUES[kind], min_size=1, max_size=3))
    values = draw(st.lists(st.one_of(VALUES[kind], st.sampled_from(few)), min_size=count, max_size=count))
    return Field(draw(st.integers(1, 300)), kind), draw(st.sampled_from([values, few[:1] * count]))


@given(column())
def test_a_column_gives_back_every_bit(drawn):
    field, values = drawn
    count = len(values)
    block = parsed(encode_block(7, range(1, count + 1), [5] * count, [], [encode_column(field, values)]))
    found = block.columns[field.number]
    assert list(map(bits, found.values())) == list(map(bits, values))
    if found.shared:
        assert bits(found.one()) == bits(values[0])


def come_back(kind, values):
    seqs = range(1, len(values) + 1)
    block = parsed(encode_block(7, seqs, seqs, [], [encode_column(Field(2, kind), values)]))
    return list(block.columns[2].values()) == values


AROUND_A_BYTE = pytest.mark.parametrize("most", [1, 63, 64, 127, 128, 255, 256, 300])
FEW_AND_MANY = pytest.mark.parametrize("count", [3, 129, 700])


@AROUND_A_BYTE
@FEW_AND_MANY
def test_numbers_around_the_limits_of_a_byte_come_back(most, count):
    drawn = random.Random(most)
    rising = [at * most for at in range(count)]
    for values in (
        rising,
        [-value for value in rising],
        [*rising, 0],
        [drawn.choice((0, most)) for _ in range(count)],
        [drawn.choice((-most, -1, most)) for _ in range(count)],
        [*[5] * count, most],
        [(1 << 63) - 1, *rising],
    ):
        assert come_back(_TYPE.TYPE_INT64, values)
    assert come_back(_TYPE.TYPE_UINT64, [*rising, (1 << 64) - 1, 1 << 63])
    assert come_back(_TYPE.TYPE_STRING, [str(value % (most + 1)) for value in rising])


@AROUND_A_BYTE
@FEW_AND_MANY
def test_sequence_numbers_with_gaps_come_back(most, count):
    seqs = [5 + at * most for at in range(count)]
    assert parsed(encode_block(7, seqs, seqs, [], [])).seqs == seqs


def test_every_type_of_a_column_is_tried():
    assert set(VALUES) == COLUMN_TYPES


@given(st.lists(st.integers(1, 1 << 40), min_size=1, max_size=50), st.lists(U64, min_size=50, max_size=50))
def test_sequence_numbers_and_times_come_back(steps, times):
    seqs = [sum(steps[: at + 1]) for at in range(len(steps))]
    times = [time % (1 << 63) for time in times[: len(seqs)]]
    block = parsed(encode_payload_block(300, seqs, times, [], [b"%d" % seq for seq in seqs]))
    assert (block.type_id, block.seqs, block.times) == (300, seqs, times)
    assert block.serialized_payloads() == [b"%d" % seq for seq in seqs]
    assert block.serialized_contexts() == [b""] * len(seqs)


def test_events_of_a_block_are_the_messages_they_were():
    messages = [
        training_pb2.PpoUpdateCompleted(policy_loss=1 / (at + 1), value_loss=float(at), entropy=math.nan)
        for at in range(5)
    ]
    contexts = [context_pb2.Context(step=1000 + at, device="cpu" if at % 2 else "cuda:0") for at in range(5)]
    fields = training_pb2.PpoUpdateCompleted.DESCRIPTOR.fields_by_name
    where = context_pb2.Context.DESCRIPTOR.fields_by_name

    def columns(of, declared, names):
        return [
            encode_column(Field(declared[name].number, declared[name].type), [getattr(one, name) for one in of])
            for name in names
        ]

    element = encode_block(
        1,
        range(10, 15),
        range(5),
        columns(contexts, where, ["step", "device"]),
        columns(messages, fields, ["policy_loss", "value_loss", "entropy"]),
    )
    block = parsed(element)
    assert [training_pb2.PpoUpdateCompleted.FromString(one) for one in block.serialized_payloads()] == messages or (
        [training_pb2.PpoUpdateCompleted.FromString(one).SerializeToString() for one in block.serialized_payloads()]
        == [one.SerializeToString() for one in messages]
    )
    assert [context_pb2.Context.FromString(one) for one in block.serialized_contexts()] == contexts
    # As FORMAT.md has it: real numbers less their two highest bytes, then those; integers as bytes.
    (plain,) = record_pb2.RecordFile.FromString(element).block
    single = [struct.pack("<f", at) for at in range(5)]
    assert plain.columns[1].floats == b"".join(
        [one[:2] for one in single] + [bytes(one[k] for one in single) for k in (2, 3)]
    )
    double = [struct.pack("<d", one.policy_loss) for one in messages]
    assert plain.columns[0].doubles == b"".join(
        [one[:6] for one in double] + [bytes(one[k] for one in double) for k in (6, 7)]
    )
    assert (plain.context[0].first, plain.context[0].int_steps) == (1000, b"\1\1\1\1")
    assert list(plain.context[1].texts) == ["cuda:0", "cpu"]
    assert plain.context[1].indices == bytes([0, 1, 0, 1, 0])


@pytest.mark.parametrize("name", ["int64", "sint32", "sint64", "sfixed32", "sfixed64", "enum"])
def test_numbers_below_zero_become_the_messages_they_were(name):
    everything = foreign("Everything", "proto3")
    field = everything.DESCRIPTOR.fields_by_name[name]
    values = [-2, 1, 0, -2, -(1 << 30)] if name == "enum" else [-1, 3, 0, -64, -(1 << 31)]
    column = encode_column(Field(field.number, field.type), values)
    block = parsed(encode_block(1, range(1, 6), range(5), [], [column]))
    rows = joined(block.columns.values(), 5)
    assert [getattr(everything.FromString(row), name) for row in rows] == values


def test_what_is_constant_is_written_once():
    field = Field(3, _TYPE.TYPE_DOUBLE)
    assert len(encode_column(field, [1 / 3] * 1000)) < 20
    assert len(encode_column(Field(3, _TYPE.TYPE_STRING), ["a name"] * 1000)) < 20
    assert len(encode_column(field, [0.0, -0.0] * 500)) > 1000  # zeros of both signs are two values


BLOCK = record_pb2.EventBlock(
    type_id=1, events=3, first_seq=5, seq_steps=b"\1\1", first_time_unix_nano=9, time_steps=b"\0\0"
)
COLUMN = record_pb2.Column(field=2, type=_TYPE.TYPE_STRING, texts=["a", "b"], indices=b"\0\1\0")


def damaged(change):
    block = record_pb2.EventBlock()
    block.CopyFrom(BLOCK)
    block.columns.append(COLUMN)
    change(block)
    return record_pb2.RecordFile(block=[block]).SerializeToString()


def put(**fields):
    """Return what gives the column other fields."""

    def change(block):
        for name, value in fields.items():
            setattr(block.columns[0], name, value)

    return change


def add(**fields):
    """Return what adds a column."""
    return lambda block: block.columns.add(field=9, **fields)


@pytest.mark.parametrize(
    "change",
    [
        lambda block: block.ClearField("type_id"),
        lambda block: block.ClearField("events"),
        lambda block: block.ClearField("first_seq"),
        lambda block: block.ClearField("seq_steps"),
        lambda block: setattr(block, "seq_steps", b"\1\0"),
        lambda block: setattr(block, "seq_steps", b"\1\1\1"),
        lambda block: setattr(block, "seq_steps", b"\xff" * 16),
        lambda block: setattr(block, "seq_steps", b"\1" * 18),
        lambda block: setattr(block, "events", 1 << 30),
        lambda block: setattr(block, "time_steps", b"\0"),
        lambda block: setattr(block, "time_steps", b"\xf0\0"),
        lambda block: setattr(block, "first_time_unix_nano", (1 << 64) - 1) or setattr(block, "time_steps", b"\1\0"),
        lambda block: block.payloads.append(b""),
        lambda block: block.columns.append(COLUMN),
        put(indices=b"\0\1\0\0"),
        put(indices=b"\0\1\2"),
        put(first=1),
        put(ints=b"\1\1\1"),
        put(type=_TYPE.TYPE_DOUBLE),
        put(type=_TYPE.TYPE_MESSAGE),
        put(type=99),
        put(field=0),
        lambda block: block.columns[0].ClearField("texts"),
        lambda block: block.columns[0].ClearField("indices"),
        add(type=_TYPE.TYPE_UINT32, first=1 << 32),
        add(type=_TYPE.TYPE_UINT32, ints=b"\1\1\xff"),
        add(type=_TYPE.TYPE_UINT32, ints=b"\0" * 12 + b"\1\0\0"),
        add(type=_TYPE.TYPE_INT32, ints=b"\0" * 12 + b"\1\0\0"),
        add(type=_TYPE.TYPE_UINT32, first=1, int_steps=b"\1\xfd"),
        add(type=_TYPE.TYPE_UINT32, int_steps=b"\1\1"),
        add(type=_TYPE.TYPE_UINT64, ints=b"\1\1"),
        add(type=_TYPE.TYPE_BOOL, flags=b"\0\0"),
        add(type=_TYPE.TYPE_BOOL, first=2),
        add(type=_TYPE.TYPE_BOOL, ints=b"\1\0\1"),
        add(type=_TYPE.TYPE_DOUBLE, doubles=b"\0" * 16),
        add(type=_TYPE.TYPE_DOUBLE, doubles=b"\0" * 23),
    ],
)
def test_a_block_that_contradicts_itself_is_refused(change):
    assert len(parsed(damaged(lambda _: None))) == 3
    with pytest.raises(CorruptRecordError, match="a block of"):
        parsed(damaged(change))


def test_a_text_that_is_no_utf8_is_refused_as_what_it_is():
    with pytest.raises(CorruptRecordError, match="a block that is none"):
        parsed(damaged(lambda _: None).replace(b"\x42\x01a", b"\x42\x01\xff"))


def test_a_block_states_no_more_values_than_a_frame_may():
    events = 1 << 15
    column = record_pb2.Column(type=_TYPE.TYPE_UINT32, first=1)
    steps = b"\1" * (events - 1)
    block = record_pb2.EventBlock(
        type_id=1, events=events, first_seq=1, seq_steps=steps, first_time_unix_nano=1, time_steps=steps
    )
    for number in range(1, MAX_CELLS // events + 2):
        column.field = number
        block.columns.append(column)
    with pytest.raises(CorruptRecordError, match="the limit of a frame"):
        parsed(record_pb2.RecordFile(block=[block]).SerializeToString())


@given(column(), st.integers(0, 41), st.integers(0, 41))
def test_a_stretch_of_a_column_is_what_it_is_in_the_whole(drawn, one, other):
    field, values = drawn
    count = len(values)
    start, stop = sorted((min(one, count), min(other, count)))
    block = parsed(encode_block(7, range(1, count + 1), [5] * count, [], [encode_column(field, values)]))
    found = block.columns[field.number].values(start, stop)
    assert list(map(bits, found)) == list(map(bits, values[start:stop]))


def test_steps_are_what_sums_give_back():
    assert steps_of([5]) == []
    assert steps_of([5, 3, 3, 10]) == [-2, 0, 7]


def test_a_frame_holds_as_many_values_as_the_format_allows():
    assert MAX_CELLS == 2**21  # FORMAT.md: other readers refuse more
