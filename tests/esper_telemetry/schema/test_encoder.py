"""The payload that a written function packs is the one that protobuf would have made."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry import events
from esper_telemetry.errors import SchemaError
from esper_telemetry.schema.encoder import PayloadEncoders, payload_encoders, write_encoder
from tests.esper_telemetry.schema.strategies import EVENTS, THOROUGH, messages, name_of

OFTEN = 20


class Tensor:
    """Reading it would make the host wait for the device, and is an error here."""

    def __float__(self):
        raise AssertionError("the host waited for the device")

    __index__ = __bool__ = __int__ = __len__ = __eq__ = __hash__ = __float__


def learned(cls, **fields) -> PayloadEncoders:
    encoders = PayloadEncoders(cls)
    for _ in range(OFTEN):
        encoders.encode(fields)
    return encoders


def fast(encoders, fields):
    """Return what the hot path gets without protobuf; None where it has to ask protobuf."""
    try:
        return encoders[len(fields)](**fields)
    except (TypeError, ValueError, LookupError, ArithmeticError, struct.error):
        return None


def fields_of(message) -> dict:
    """Return the fields of a message as a caller would give them, scalars only."""
    return {field.name: value for field, value in message.ListFields() if isinstance(value, (bool, int, float, str))}


@THOROUGH
@given(st.sampled_from(EVENTS), st.data())
def test_a_written_function_packs_what_protobuf_serializes(cls, data):
    fields = fields_of(data.draw(messages(cls)))
    encoder = write_encoder(cls, tuple(fields), tuple(map(type, fields.values())))
    if encoder is None:
        return
    try:
        packed = encoder(**fields)
    except (ValueError, LookupError, ArithmeticError, struct.error):
        packed = None
    assert packed in (None, cls(**fields).SerializeToString())


@pytest.mark.parametrize("cls", EVENTS, ids=name_of)
def test_every_scalar_of_every_event_is_packed_without_protobuf(cls):
    samples = {float: 0.5, int: 3, bool: True, str: "a"}
    kinds = {
        "double": float, "string": str, "bool": bool, "uint32": int, "uint64": int, "int32": int, "int64": int,
        "enum": int,
    }  # fmt: skip
    proto = descriptor_pb2.DescriptorProto()
    cls.DESCRIPTOR.CopyToProto(proto)
    scalars = {}
    for field in proto.field:
        kind = kinds.get(descriptor_pb2.FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower())
        if kind is not None and field.label != field.LABEL_REPEATED:
            scalars[field.name] = samples[kind]
    encoders = learned(cls, **scalars)
    assert fast(encoders, scalars) == cls(**scalars).SerializeToString()


@pytest.mark.parametrize(
    "value", [0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308, -1.5, 3, -3, 2**60]
)
def test_any_number_in_a_double_is_packed_to_the_bit(value):
    encoders = learned(events.ScalarLogged, name="loss", value=value)
    expected = events.ScalarLogged(name="loss", value=value).SerializeToString()
    assert fast(encoders, {"name": "loss", "value": value}) == expected


@pytest.mark.parametrize("step", [0, 1, 127, 128, 16_383, 16_384, 2**21 - 1, 2**21, 2**28 - 1])
def test_integers_up_to_28_bits_are_packed(step):
    encoders = learned(events.ScalarLogged, name="loss", step=5)
    expected = events.ScalarLogged(name="loss", step=step).SerializeToString()
    assert fast(encoders, {"name": "loss", "step": step}) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "loss", "step": -1},
        {"name": "loss", "step": 2**28},
        {"name": "loss", "step": 2**63 - 1},
        {"name": "x" * 16_384, "step": 5},
        {"name": "", "step": 5},  # left out by protobuf: the field has no presence
        {"name": "loss", "step": np.int64(5)},
        {"name": "loss", "value": 5.0},
        {"name": "loss", "step": None},
        {"step": 5, "unit": "ms"},
    ],
)
def test_what_does_not_fit_is_made_by_protobuf(fields):
    encoders = learned(events.ScalarLogged, name="loss", step=5)
    assert fast(encoders, fields) is None
    plain = {name: int(value) if isinstance(value, np.int64) else value for name, value in fields.items()}
    assert encoders.encode(fields) == events.ScalarLogged(**plain).SerializeToString()


@pytest.mark.parametrize("wrong", [{"step": 2**64}, {"name": "\ud800"}, {"value": 10**400}, {"nam": "x"}])
def test_what_protobuf_refuses_is_refused_as_before(wrong):
    encoders = learned(events.ScalarLogged, name="loss", value=2, step=5)
    fields = {"name": "loss", "value": 2, "step": 5} | wrong
    assert fast(encoders, fields) is None
    with pytest.raises((ValueError, TypeError, OverflowError)):
        encoders.encode(fields)


def test_a_tensor_is_looked_at_by_type_alone():
    encoders = learned(events.ScalarLogged, name="loss", value=0.5, step=5)
    for field in ("name", "value", "step"):
        fields = {"name": "loss", "value": 0.5, "step": 5, field: Tensor()}
        assert fast(encoders, fields) is None
        with pytest.raises(SchemaError, match="Tensor"):
            encoders.encode(fields)


def test_shapes_may_alternate():
    encoders = learned(events.ScalarLogged, name="loss", value=0.5)
    shapes = [{"name": "loss", "value": 1}, {"name": "loss", "value": 0.5}, {"step": 3, "value": 0.5}]
    for _ in range(OFTEN):
        for fields in shapes:
            assert encoders.encode(fields) == events.ScalarLogged(**fields).SerializeToString()
    for fields in shapes:
        encoders.encode_any(fields)
        assert fast(encoders, fields) == events.ScalarLogged(**fields).SerializeToString()


def test_a_caller_who_makes_up_shapes_all_the_time_costs_no_memory():
    encoders = PayloadEncoders(events.Throughput)
    for number in range(500):
        fields = {"fps": type(f"Number{number}", (float,), {})(0.5)}
        assert encoders.encode(fields) == events.Throughput(fps=0.5).SerializeToString()
    assert len(encoders._seen) <= 64


def test_all_runs_and_contexts_share_what_was_written():
    assert payload_encoders(events.Throughput) is payload_encoders(events.Throughput)


def test_fields_of_a_oneof_and_names_that_python_keeps_are_left_to_protobuf():
    file = descriptor_pb2.FileDescriptorProto(name="odd.proto", package="odd", syntax="proto3")
    message = file.message_type.add(name="Odd")
    message.oneof_decl.add(name="either")
    for number, name in enumerate(("left", "right"), start=1):
        message.field.add(name=name, number=number, type=1, label=1, oneof_index=0)
    for number, name in enumerate(("class", "_join", "type", "plain"), start=3):
        message.field.add(name=name, number=number, type=1, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    odd = message_factory.GetMessageClass(pool.FindMessageTypeByName("odd.Odd"))
    for name in ("left", "class", "_join"):
        assert write_encoder(odd, (name,), (float,)) is None
    for names in (("type", "plain"), ("plain", "type")):
        encoder = write_encoder(odd, names, (float, float))
        fields = dict(zip(names, (1.5, 2.5), strict=True))
        assert encoder(**fields) == odd(**fields).SerializeToString()
    both = {"left": 1.0, "right": 2.0}
    assert learned(odd, **both).encode(both) == odd(**both).SerializeToString()


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
