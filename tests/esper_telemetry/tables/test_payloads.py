"""Serialized messages become columns by ptars or one by one, and both give what `.data` gives."""

from __future__ import annotations

import pyarrow as pa
import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    message_factory,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.schema import to_plain
from esper_telemetry.tables.columntypes import column_type
from esper_telemetry.tables.payloads import PayloadDecoder
from tests.esper_telemetry.schema.foreign import foreign
from tests.esper_telemetry.schema.strategies import EVENTS, THOROUGH, full, messages, name_of
from tests.esper_telemetry.tables.cells import cell, comparable

FOREIGN = [foreign("Everything", "proto3"), foreign("Everything", "proto2"), foreign("Odd", "proto3")]
F = descriptor_pb2.FieldDescriptorProto


def columns(decoder, payloads) -> list:
    found = decoder.columns(pa.array(payloads, pa.binary()))
    assert [column.type for column in found] == decoder.types
    return [[comparable(value) for value in column.to_pylist()] for column in found]


def expected(cls, several) -> list:
    plain = [to_plain(message) for message in several]
    return [[comparable(cell(one.get(field.name), field)) for one in plain] for field in cls.DESCRIPTOR.fields]


@pytest.mark.parametrize("cls", EVENTS, ids=name_of)
@THOROUGH
@given(data=st.data())
def test_both_ways_give_the_cells_of_data(cls, data):
    several = [*full(cls), cls(), *data.draw(st.lists(messages(cls), max_size=4))]
    payloads = [message.SerializeToString() for message in several]
    fast, slow = PayloadDecoder(cls), PayloadDecoder(cls, fast=False)
    assert fast.fast
    assert not slow.fast
    assert columns(fast, payloads) == columns(slow, payloads) == expected(cls, several)
    assert fast.refused == slow.refused == 0


@pytest.mark.parametrize("cls", FOREIGN, ids=name_of)
@THOROUGH
@given(data=st.data())
def test_every_type_of_field_is_the_same_both_ways(cls, data):
    several = [cls(), *data.draw(st.lists(messages(cls, depth=3), max_size=4))]
    payloads = [message.SerializePartialToString() for message in several]
    assert columns(PayloadDecoder(cls), payloads) == columns(PayloadDecoder(cls, fast=False), payloads)


def well_known() -> type:
    """Return a message of protobuf's own messages, of itself, and of one without fields."""
    file = descriptor_pb2.FileDescriptorProto(name="known.proto", package="known", syntax="proto3")
    pool = descriptor_pool.DescriptorPool()
    for module in (timestamp_pb2, duration_pb2, wrappers_pb2, struct_pb2):
        file.dependency.append(module.DESCRIPTOR.name)
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    file.message_type.add(name="Nothing")
    message = file.message_type.add(name="Known")
    kinds = (
        ("at", "google.protobuf.Timestamp"),
        ("took", "google.protobuf.Duration"),
        ("nothing", "known.Nothing"),
        ("measured", "google.protobuf.DoubleValue"),
        ("any", "google.protobuf.Struct"),
        ("child", "known.Known"),
        ("children", "known.Known"),
        ("name", "google.protobuf.StringValue"),
    )
    for number, (name, kind) in enumerate(kinds, 1):
        label = F.LABEL_REPEATED if name == "children" else F.LABEL_OPTIONAL
        message.field.add(name=name, number=number, type=F.TYPE_MESSAGE, type_name=f".{kind}", label=label)
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("known.Known"))


def test_messages_of_protobuf_have_types_of_arrow_and_a_message_inside_itself_is_bytes():
    cls = well_known()
    message = cls(child=cls(name={"value": "inner"}), children=[cls(), cls(nothing={})], nothing={})
    message.at.FromJsonString("1969-12-31T23:59:59.5Z")
    message.took.FromNanoseconds(-1_500_000_001)
    message.measured.value = 0.0
    message.any.update({"list": [1, {"deep": None}]})
    payloads = [message.SerializeToString(), b""]
    fast, slow = PayloadDecoder(cls), PayloadDecoder(cls, fast=False)
    assert fast.fast
    assert columns(fast, payloads) == columns(slow, payloads)
    found = dict(zip(fast.names, fast.columns(pa.array(payloads, pa.binary())), strict=True))
    assert found["at"].cast(pa.int64()).to_pylist() == [-500_000_000, None]
    assert found["took"].cast(pa.int64()).to_pylist() == [-1_500_000_001, None]
    assert found["measured"].to_pylist() == [0.0, None]
    assert found["nothing"].to_pylist() == [True, None]
    assert found["child"].to_pylist() == [message.child.SerializeToString(), None]
    assert found["children"].to_pylist() == [[b"", message.children[1].SerializeToString()], []]


@pytest.mark.parametrize("damaged", [b"\xff\xff", b"\x08", b"\x0a\x7fshort"], ids=["tag", "value", "length"])
def test_a_payload_that_does_not_fit_costs_its_own_row_only(damaged):
    cls = foreign("Everything", "proto3")
    good = cls(double=float("nan"), many_int32=[1, 2], bare_string="x")
    decoder = PayloadDecoder(cls)
    found = columns(decoder, [good.SerializeToString(), damaged, good.SerializeToString()])
    assert decoder.refused == 1
    assert [column[0] for column in found] == [column[2] for column in found]
    assert {column[1] for column in map(tuple, found)} == {"None"}


def test_numbers_that_an_enum_does_not_declare_are_their_digits():
    cls = foreign("Everything", "proto3")
    several = [cls(enum=number, bare_enum=number).SerializeToString() for number in (42, -2, 1, 0)]
    for fast in (True, False):
        found = dict(
            zip(
                [field.name for field in cls.DESCRIPTOR.fields],
                columns(PayloadDecoder(cls, fast=fast), several),
                strict=True,
            )
        )
        assert found["enum"] == ["'42'", "'BELOW'", "'FIRST'", "'NONE'"]
        assert found["bare_enum"] == ["'42'", "'BELOW'", "'FIRST'", "None"]


def test_a_field_has_the_type_that_its_schema_says():
    fields = foreign("Everything", "proto3").DESCRIPTOR.fields_by_name
    assert column_type(fields["fixed64"]) == pa.uint64()
    assert column_type(fields["sint32"]) == pa.int32()
    assert column_type(fields["float"]) == pa.float32()
    assert column_type(fields["enum"]) == pa.dictionary(pa.int16(), pa.string())
    assert column_type(fields["string"]) == pa.dictionary(pa.int32(), pa.string())
    assert column_type(fields["many_bytes"]) == pa.list_(pa.binary())
