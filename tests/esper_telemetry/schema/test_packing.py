"""Written functions: every scalar of every event, exact to the bit, and None for what they cannot pack."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry import events
from esper_telemetry.schema.encoder import write_encoder
from esper_telemetry.schema.packing import write_function
from esper_telemetry.v1 import context_pb2
from tests.esper_telemetry.schema.foreign import foreign
from tests.esper_telemetry.schema.strategies import EVENTS, THOROUGH, messages, name_of


@THOROUGH
@given(st.sampled_from(EVENTS), st.data())
def test_a_written_function_packs_what_protobuf_serializes(cls, data):
    message = data.draw(messages(cls))
    fields = {f.name: value for f, value in message.ListFields() if isinstance(value, (bool, int, float, str))}
    encoder = write_encoder(cls, tuple(fields), tuple(map(type, fields.values())))
    if encoder is not None:
        assert encoder(**fields) in (None, cls(**fields).SerializeToString())


@pytest.mark.parametrize("cls", EVENTS, ids=name_of)
def test_every_scalar_of_every_event_is_packed_without_protobuf(cls):
    samples = {float: 0.5, int: 3, bool: True, str: "a"}
    kinds = {
        "double": float, "string": str, "bool": bool, "uint32": int, "uint64": int, "int32": int, "int64": int,
    }  # fmt: skip
    proto = descriptor_pb2.DescriptorProto()
    cls.DESCRIPTOR.CopyToProto(proto)
    scalars = {}
    for field in proto.field:
        kind = kinds.get(descriptor_pb2.FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower())
        if kind is not None and field.label != field.LABEL_REPEATED:
            scalars[field.name] = samples[kind]
    encoder = write_encoder(cls, tuple(scalars), tuple(map(type, scalars.values())))
    assert encoder(**scalars) == cls(**scalars).SerializeToString()


def test_a_zero_without_presence_is_left_out_as_protobuf_does():
    everything = foreign("Everything", "proto3")
    encoder = write_encoder(everything, ("bare_enum", "int32"), (int, int))
    assert encoder(bare_enum=0, int32=0) == everything(int32=0).SerializeToString()
    assert encoder(bare_enum=-2, int32=-2) == everything(bare_enum=-2, int32=-2).SerializeToString()


@pytest.mark.parametrize(
    ("field", "kind", "value"),
    [
        ("int32", int, 2**31),
        ("uint64", int, -1),
        ("double", int, 2**1023),
        ("string", str, "\ud800"),
        ("enum", int, 77),
        ("enum", str, "no such label"),
        ("bare_string", str, ""),
        ("bare_double", float, -0.0),
        ("int64", int, True),
    ],
)
def test_a_value_that_does_not_fit_is_none_and_raises_nothing(field, kind, value):
    encoder = write_encoder(foreign("Everything", "proto3"), (field,), (kind,))
    assert encoder(**{field: value}) is None


def test_names_of_builtins_are_names_of_fields_too():
    odd = foreign("Odd", "proto3")
    fields = {"len": "a", "int": "b", "type": "c", "str": "d", "must": 5}
    encoder = write_encoder(odd, tuple(fields), tuple(map(type, fields.values())))
    assert encoder(**fields) == odd(**fields).SerializeToString()


@pytest.mark.parametrize("name", ["left", "many_double", "inner", "bytes", "float", "sint32", "fixed64"])
def test_what_no_function_is_written_for_is_left_to_protobuf(name):
    cls = foreign("Odd" if name == "left" else "Everything", "proto3")
    assert write_encoder(cls, (name,), (float,)) is None


def test_names_that_python_keeps_are_left_to_protobuf():
    file = descriptor_pb2.FileDescriptorProto(name="kept.proto", package="kept", syntax="proto3")
    message = file.message_type.add(name="Kept")
    for number, name in enumerate(("class", "_join"), start=3):
        message.field.add(name=name, number=number, type=1, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    kept = message_factory.GetMessageClass(pool.FindMessageTypeByName("kept.Kept"))
    assert write_encoder(kept, ("class",), (float,)) is None
    assert write_encoder(kept, ("_join",), (float,)) is None


def test_a_field_number_of_two_bytes_has_a_tag_of_two_bytes():
    file = descriptor_pb2.FileDescriptorProto(name="far.proto", package="far", syntax="proto3")
    message = file.message_type.add(name="Far")
    for number, (name, kind) in {16: ("a", 1), 2047: ("b", 9), 2048: ("c", 4), 536_870_911: ("d", 8)}.items():
        message.field.add(name=name, number=number, type=kind, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    far = message_factory.GetMessageClass(pool.FindMessageTypeByName("far.Far"))
    fields = {"d": True, "c": 300, "b": "text", "a": -0.5}
    encoder = write_encoder(far, tuple(fields), tuple(map(type, fields.values())))
    assert encoder(**fields) == far(**fields).SerializeToString()


def test_one_function_may_pack_two_payloads():
    event, context = events.ScalarLogged, context_pb2.Context
    parts = [(event.DESCRIPTOR, [("value", float)]), (context.DESCRIPTOR, [("step", int), ("group", str)])]
    payload, where = write_function(parts)(value=0.5, step=2**40, group="a")
    assert payload == event(value=0.5).SerializeToString()
    assert where == context(step=2**40, group="a").SerializeToString()
