"""Tables of a record by column are those of the same record event by event."""

from __future__ import annotations

import math
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import esper_telemetry as et
from esper_telemetry.decode import survey
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import RecordReader, layout
from esper_telemetry.recordfile.frame import FrameEncoder
from esper_telemetry.recordfile.frame_messages import ENVELOPES, frame_class
from esper_telemetry.recordfile.writer import RecordBuilder
from esper_telemetry.schema import to_plain
from esper_telemetry.schema.event_block import Field, encode_block, encode_column
from esper_telemetry.tables.blockarrays import ShapeKey, block_arrays, block_shape, shape_key
from esper_telemetry.tables.columntypes import column_type
from esper_telemetry.tables.opening import Reading
from esper_telemetry.v1 import context_pb2, record_pb2
from tests.esper_telemetry.recordfile.by_column import copy_headers, rewrite_by_column, variety


@pytest.fixture
def both(write_record, tmp_path):
    """A record event by event, and the same by column."""
    frames = [variety(1, 100), variety(101, 5), variety(106, 120)]
    single = write_record(*frames)
    return single, rewrite_by_column(single, tmp_path / "by-column.esr.zst")


@pytest.mark.parametrize("fast", [True, False], ids=["ptars", "protobuf"])
@pytest.mark.parametrize(
    "choice", [{}, {"envs": [1, 50]}, {"first_seq": 17, "last_seq": 700}, {"types": "policy.*"}], ids=str
)
def test_tables_are_the_same_either_way(both, choice, fast):
    single, by_column = both
    expected = et.tables(single, fast=fast, **choice)
    found = et.tables(by_column, fast=fast, **choice)
    assert sum(map(len, expected.values())) > 100
    assert list(found) == list(expected)
    for name, table in expected.items():
        assert found[name].schema.equals(table.schema, check_metadata=True)
        assert repr(found[name].to_pylist()) == repr(table.to_pylist())
    if not choice:
        with RecordReader(by_column) as reader:
            frame = next(reader.frames())
            assert frame_class(ENVELOPES).FromString(reader.decompress(frame)).block


F = descriptor_pb2.FieldDescriptorProto
VALUES = {
    F.TYPE_DOUBLE: [0.1, 0.0, -0.0, math.nan, 5e-324], F.TYPE_FLOAT: [0.5, 0.0, -0.0, math.inf, 2.0],
    F.TYPE_INT32: [-(2**31), 0, 2**31 - 1, 4, 5], F.TYPE_SINT32: [-3, -2, -1, 0, 1], F.TYPE_SFIXED32: [9, 7, 0, 3, 1],
    F.TYPE_UINT32: [2**32 - 1, 0, 1, 2, 3], F.TYPE_FIXED32: [0, 2, 4, 6, 8],
    F.TYPE_INT64: [-(2**63), 2**63 - 1, 0, 1, 2],
    F.TYPE_SINT64: [0, 0, 0, 0, 1], F.TYPE_SFIXED64: [5, 4, 3, 2, 1], F.TYPE_UINT64: [2**64 - 1, 2**63, 0, 1, 2],
    F.TYPE_FIXED64: [2**63, 2**63 + 1, 2**63 + 2, 7, 0], F.TYPE_BOOL: [True, False, True, True, False],
    F.TYPE_STRING: ["", "a", "ä", "a", "\0"], F.TYPE_ENUM: [0, 1, 9, -1, 1],
}  # fmt: skip


def every_type() -> Any:
    """Return the class of a message with an optional and an implicit field of each type."""
    file = descriptor_pb2.FileDescriptorProto(name="every.proto", package="every", syntax="proto3")
    enum = file.enum_type.add(name="Choice")
    for number, name in enumerate(("CHOICE_NONE", "CHOICE_ONE")):
        enum.value.add(name=name, number=number)
    message = file.message_type.add(name="Type")
    for number, kind in enumerate(VALUES, 1):
        message.field.add(name=f"implicit{kind}", number=number, type=kind, label=1)
        field = message.field.add(name=f"optional{kind}", number=100 + number, type=kind, label=1, proto3_optional=True)
        field.oneof_index = number - 1
        message.oneof_decl.add(name=f"_optional{kind}")
    for field in message.field:
        if field.type == F.TYPE_ENUM:
            field.type_name = ".every.Choice"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("every.Type"))


def blocks_of(columns: list[list[tuple[Field, list]]]) -> list[Any]:
    """Return parsed blocks, each of some columns of the same length."""
    raw, seq = b"", 1
    for block in columns:
        events = len(block[0][1])
        encoded = [encode_column(field, values) for field, values in block]
        seqs = list(range(seq, seq + 2 * events, 2))
        raw += encode_block(1, seqs, [10 * one for one in seqs], [], encoded)
        seq += 2 * events
    return list(record_pb2.RecordFile.FromString(raw).block)


def arrays_of(blocks: list[Any], cls: Any) -> Any:
    shape = block_shape(shape_key(blocks[0]), cls.DESCRIPTOR, context_pb2.Context.DESCRIPTOR)
    return block_arrays(blocks, shape)


def test_every_type_comes_as_it_was_whatever_the_blocks_look_like():
    cls = every_type()
    fields = [Field(one.number, one.type) for one in cls.DESCRIPTOR.fields]
    blocks = []
    for turn in range(5):
        turned = {kind: values[turn:] + values[:turn] for kind, values in VALUES.items()}
        if turn == 3:  # one value for all
            turned = {kind: values[:1] * 3 for kind, values in turned.items()}
        blocks.append([(one, turned[one.type]) for one in fields])
    arrays = arrays_of(blocks_of(blocks), cls)
    assert arrays.seq.to_pylist() == list(range(1, 2 * 23, 2))
    assert arrays.time.to_pylist() == [10 * one for one in range(1, 2 * 23, 2)]
    for at, field in enumerate(cls.DESCRIPTOR.fields):
        expected = []
        for block in blocks:
            for value in block[at][1]:
                message = cls()
                setattr(message, field.name, value)
                expected.append(to_plain(message).get(field.name))
        expected = [str(one) if field.enum_type is not None and one is not None else one for one in expected]
        assert repr(arrays.payload[field.name].to_pylist()) == repr(expected)
        assert arrays.payload[field.name].type == column_type(field)


@pytest.mark.parametrize(
    "damage",
    [
        lambda block: setattr(block, "seq_steps", b"\0\1"),
        lambda block: setattr(block, "time_steps", b"\1"),
        lambda block: setattr(block, "time_steps", b"\1" * 18),
        lambda block: setattr(block, "first_time_unix_nano", (1 << 64) - 50),
        lambda block: setattr(block.columns[0], "indices", b"\x09\0\0"),
        lambda block: setattr(block.columns[0], "ints", b"\1\1\1"),
        lambda block: setattr(block.columns[1], "first", 2**32),
        lambda block: setattr(block.columns[1], "int_steps", b"\1\1\1"),
        lambda block: setattr(block.columns[1], "ints", b"\1\1\xff"),
        lambda block: block.payloads.append(b""),
    ],
)
def test_a_block_that_contradicts_itself_is_refused(damage):
    cls = every_type()
    text, number = cls.DESCRIPTOR.fields_by_name["optional9"], cls.DESCRIPTOR.fields_by_name["optional13"]
    columns = [(Field(text.number, text.type), ["a", "b", "a"]), (Field(number.number, number.type), [3, 1, 7])]
    (block,) = blocks_of([columns])
    assert len(arrays_of([block], cls).seq) == 3
    damage(block)
    with pytest.raises(CorruptRecordError):
        arrays_of([block], cls)


def test_a_column_that_the_record_declares_otherwise_has_no_shape():
    cls = every_type()
    key = ShapeKey(1, (), ((1, F.TYPE_DOUBLE), (2, F.TYPE_FLOAT)))
    declared = cls.DESCRIPTOR, context_pb2.Context.DESCRIPTOR
    assert block_shape(key, *declared) is not None
    for fields in (((99, F.TYPE_DOUBLE),), ((1, F.TYPE_FLOAT),), ((1, F.TYPE_DOUBLE), (1, F.TYPE_DOUBLE))):
        assert block_shape(key._replace(fields=fields), *declared) is None


def test_a_faulty_block_costs_its_frame_alone(both, tmp_path):
    _, by_column = both
    with RecordReader(by_column) as reader, RecordBuilder(tmp_path / "faulty.esr.zst") as builder:
        frames = list(reader.frames())
        builder.start_segment()
        copy_headers(reader.segments[0], builder)
        for frame in frames:
            raw = reader.decompress(frame)
            if frame is frames[1]:
                content = record_pb2.RecordFile.FromString(raw)
                content.block[0].seq_steps = bytes(len(content.block[0].seq_steps))
                raw = content.SerializeToString()
            packed = FrameEncoder(3).encode(raw)
            desc = frame.descriptor._replace(compressed_size=len(packed), raw_size=len(raw))
            builder.add_frame(packed + layout.pack_descriptor(desc), desc)
        builder.finish_segment()
    for fast in (True, False):
        reading = Reading(survey(tmp_path / "faulty.esr.zst"), strict=False, fast=fast)
        rows = sum(batch.num_rows for _, batch in reading)
        assert rows == sum(frame.records for frame in frames) - frames[1].records
        assert [lost.damage.first_seq for lost in reading.damage] == [frames[1].first_seq]
