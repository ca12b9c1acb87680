"""What is kept of a call is what protobuf would have made of it, at every call; what protobuf refuses is refused."""

from __future__ import annotations

import enum
import math
import struct
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_telemetry import events
from esper_telemetry.errors import SchemaError
from esper_telemetry.schema import call_shapes as module
from esper_telemetry.schema.call_shapes import CallShapes, call_shapes
from esper_telemetry.schema.encoder import build
from esper_telemetry.schema.row_shape import write_shape
from tests.esper_telemetry.schema.foreign import foreign
from tests.esper_telemetry.schema.strategies import EVENTS, THOROUGH, messages, name_of

OFTEN = 20
FOREIGN = [foreign(name, syntax) for name in ("Everything", "Odd") for syntax in ("proto2", "proto3")]


class Tensor:
    """Reading it would make the host wait for the device, and is an error here."""

    def __float__(self):
        raise AssertionError("the host waited for the device")

    __index__ = __bool__ = __int__ = __len__ = __eq__ = __hash__ = __float__


class Step(int):
    """An integer of some framework."""


class Stage(enum.IntEnum):
    FIRST = 1


def learned(cls, **fields) -> CallShapes:
    shapes = CallShapes(cls)
    for _ in range(OFTEN):
        shapes.row(fields)
    return shapes


def encoded(shapes, fields) -> bytes:
    """Return the message that is written for a call, as protobuf serializes it."""
    row = shapes.row(fields)
    return shapes._cls.FromString(row.shape.payload(row.values)).SerializeToString()


def kept(shapes, fields) -> bytes | None:
    """Return the message of a call that is kept as it came; None where protobuf builds it."""
    row = shapes.proven(fields)
    return None if row is None else shapes._cls.FromString(row.shape.payload(row.values)).SerializeToString()


def built(cls):
    """Return what protobuf makes of fields."""
    return lambda fields: build(cls, fields).SerializeToString()


def answer(encode, fields):
    """Return the payload of a call, or the reason why it is refused."""
    try:
        return encode(fields)
    except SchemaError as error:
        return str(error)


def fields_of(message) -> dict:
    """Return the fields of a message as a caller would give them, scalars only."""
    return {field.name: value for field, value in message.ListFields() if isinstance(value, (bool, int, float, str))}


NAN_WITH_A_PAYLOAD = struct.unpack("<d", struct.pack("<Q", 0x7FF4_0000_DEAD_BEEF))[0]
ANYTHING = st.one_of(
    st.integers(-(2**65), 2**65),
    st.integers(-5, 300),
    st.sampled_from([2**28 - 1, 2**28, 2**31, -(2**31), 2**32, 2**53 + 1, 2**63, -(2**63), 2**64 - 1, 10**400]),
    st.booleans(),
    st.floats(width=64),
    st.sampled_from([-0.0, NAN_WITH_A_PAYLOAD, math.inf, 1e39]),
    st.text(max_size=6),
    st.sampled_from(["", "\ud800", "x" * 20_000, "KIND_FIRST", "FIRST", "value_collapse", "KIND_NONE"]),
    st.binary(max_size=4),
    st.sampled_from([None, Step(7), Stage.FIRST, np.int64(3), np.bool_(1), np.float32(0.5), np.array([2.0])]),
    st.sampled_from([Fraction(1, 3), Decimal("0.1"), [1], {"a": 1}]),
    st.builds(Tensor),
)


@settings(THOROUGH, max_examples=200)
@given(st.sampled_from(EVENTS + FOREIGN), st.data())
def test_later_calls_are_answered_as_the_first_one_would_have_been(cls, data):
    first = fields_of(data.draw(messages(cls)))
    shapes = CallShapes(cls)
    for _ in range(OFTEN):
        answer(lambda fields: encoded(shapes, fields), first)
    for _ in range(6):
        changed = data.draw(st.sampled_from(sorted(first) or ["none"]))
        later = {**first, changed: data.draw(ANYTHING)}
        assert answer(lambda fields: encoded(shapes, fields), later) == answer(built(cls), later)


@pytest.mark.parametrize("cls", FOREIGN, ids=name_of)
@pytest.mark.parametrize("first", [1, 0.5, True, "KIND_FIRST", "x"], ids=repr)
def test_every_kind_of_field_is_answered_alike_for_ever(cls, first):
    later = [*(2**n + d for n in (0, 7, 14, 28, 31, 32, 63, 64) for d in (-1, 0, 1)), -1, -(2**31), -(2**31) - 1]
    later += [-(2**63), -(2**63) - 1, -0.0, 0.0, math.inf, NAN_WITH_A_PAYLOAD, True, False, "", "\ud800", "\ud800x"]
    later += ["KIND_FIRST", "KIND_FAR", "FIRST", "NONE", b"x", b"\xff", 10**400, -(10**400), Step(5), Stage.FIRST]
    for field in cls.DESCRIPTOR.fields:
        shapes = CallShapes(cls)
        required = {"must": 1} if "must" in cls.DESCRIPTOR.fields_by_name and field.name != "must" else {}
        for _ in range(OFTEN):
            answer(lambda fields, shapes=shapes: encoded(shapes, fields), {**required, field.name: first})
        for value in later:
            fields = {**required, field.name: value}
            given = answer(lambda fields, shapes=shapes: encoded(shapes, fields), fields)
            assert given == answer(built(cls), fields), fields


@pytest.mark.parametrize(
    "value", [0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308, -1.5, 3, -3, 2**60, True]
)
def test_any_number_in_a_double_is_packed_to_the_bit(value):
    shapes = learned(events.ScalarLogged, name="loss", value=value)
    expected = events.ScalarLogged(name="loss", value=value).SerializeToString()
    assert kept(shapes, {"name": "loss", "value": value}) == expected


@pytest.mark.parametrize(
    "step", [0, 1, 127, 128, 16_383, 16_384, 2**28 - 1, 2**28, 300_000_000, 2**42, 2**56, 2**63 - 1, -1, -(2**63)]
)
def test_integers_of_any_size_are_packed(step):
    shapes = learned(events.ScalarLogged, name="loss", step=5)
    expected = events.ScalarLogged(name="loss", step=step).SerializeToString()
    assert kept(shapes, {"name": "loss", "step": step}) == expected


@pytest.mark.parametrize("length", [0, 127, 16_383])
def test_texts_of_any_length_are_packed(length):
    shapes = learned(events.ScalarLogged, unit="ms", step=5)
    expected = events.ScalarLogged(unit="ä" * length, step=5).SerializeToString()
    assert kept(shapes, {"unit": "ä" * length, "step": 5}) == expected


@pytest.mark.parametrize("anomaly", ["value_collapse", "ANOMALY_KIND_VALUE_COLLAPSE", 3])
def test_labels_names_and_numbers_of_an_enum_are_packed(anomaly):
    shapes = learned(events.AnomalyDetected, anomaly=anomaly, value=0.5)
    expected = events.AnomalyDetected(anomaly=3, value=0.5).SerializeToString()
    assert kept(shapes, {"anomaly": anomaly, "value": 0.5}) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "loss", "step": np.int64(5)},
        {"name": "loss", "value": 5.0},
        {"name": "loss", "step": None},
        {"step": 5, "unit": "ms"},
    ],
)
def test_what_does_not_fit_is_made_by_protobuf(fields):
    shapes = learned(events.ScalarLogged, name="loss", step=5)
    assert kept(shapes, fields) is None
    plain = {name: int(value) if isinstance(value, np.int64) else value for name, value in fields.items()}
    assert encoded(shapes, fields) == events.ScalarLogged(**plain).SerializeToString()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"step": 2**64}, "field 'step' was given 18446744073709551616: "),
        ({"name": "\ud800"}, r"field 'name' was given '\\ud800': "),
        ({"value": 10**400}, "field 'value' was given an integer of 1,329 bits: "),
        ({"nam": "x"}, "it has no field 'nam'; its fields are name, value, step, unit"),
    ],
)
def test_what_protobuf_refuses_is_refused_by_the_name_of_the_field(wrong, said):
    shapes = learned(events.ScalarLogged, name="loss", value=2, step=5)
    fields = {"name": "loss", "value": 2, "step": 5} | wrong
    assert kept(shapes, fields) is None
    with pytest.raises(SchemaError, match=said):
        encoded(shapes, fields)


def test_a_tensor_is_looked_at_by_type_alone():
    shapes = learned(events.ScalarLogged, name="loss", value=0.5, step=5)
    for field in ("name", "value", "step"):
        fields = {"name": "loss", "value": 0.5, "step": 5, field: Tensor()}
        assert kept(shapes, fields) is None
        with pytest.raises(SchemaError, match="Tensor"):
            encoded(shapes, fields)


def test_shapes_may_alternate():
    shapes = CallShapes(events.ScalarLogged)
    calls = [{"name": "loss", "value": 1}, {"name": "loss", "value": 0.5}, {"step": 3, "value": 0.5}]
    for _ in range(OFTEN):
        for fields in calls:
            assert encoded(shapes, fields) == events.ScalarLogged(**fields).SerializeToString()
    for fields in calls:
        assert kept(shapes, fields) == events.ScalarLogged(**fields).SerializeToString()


@pytest.mark.parametrize("first", [{"name": "loss", "step": 5}, {"name": "\ud800", "step": 5}], ids=["fits", "never"])
def test_a_shape_is_written_once_whatever_its_values_are(first, mocker):
    written = mocker.spy(module, "write_shape")
    shapes = CallShapes(events.ScalarLogged)
    for number in range(100):
        answer(shapes.row, {**first, "step": number})
        shapes.row({**first, "name": ""})
        answer(shapes.row, {**first, "step": 2**64 + number})
    assert written.call_count == 1


def test_a_shape_that_means_something_else_is_never_used(mocker):
    other = write_shape(events.ScalarLogged.DESCRIPTOR, None, ["step"], [int])
    other.sources = (other.sources[0]._replace(convert=lambda value: value + 1),)
    mocker.patch.object(module, "write_shape", return_value=other)
    shapes = CallShapes(events.ScalarLogged)
    for _ in range(100):
        assert encoded(shapes, {"step": 5}) == events.ScalarLogged(step=5).SerializeToString()
    assert shapes.proven({"step": 5}) is None


def test_a_call_that_is_known_is_kept_as_it_came():
    shapes = learned(events.ScalarLogged, name="loss", value=0.5)
    fields = {"value": 1.5, "name": "loss"}
    assert shapes.proven(fields) is None  # the order of names is another one, for the shape alone
    fields = {"name": "loss", "value": 1.5}
    assert shapes.row(fields).values is fields


def test_a_list_a_tensor_and_an_array_are_never_kept():
    shapes = CallShapes(events.ScalarLogged)
    for _ in range(2 * OFTEN):
        row = shapes.row({"name": "loss", "value": np.array([2.0])})
        assert type(row.values["value"]) is float
    mutable = {"loss": 1.0}
    shapes = CallShapes(events.ScalarsLogged)
    for _ in range(2 * OFTEN):
        assert type(shapes.row({"scalars": mutable}).values) is bytes


def test_a_caller_who_makes_up_shapes_all_the_time_costs_no_memory():
    shapes = CallShapes(events.Throughput)
    for number in range(500):
        fields = {"fps": type(f"Number{number}", (float,), {})(0.5)}
        assert encoded(shapes, fields) == events.Throughput(fps=0.5).SerializeToString()
    assert len(shapes._seen) <= 64


def test_all_runs_and_contexts_share_what_was_written():
    assert call_shapes(events.Throughput) is call_shapes(events.Throughput)


def test_a_missing_required_field_is_refused_at_every_call():
    odd = foreign("Odd", "proto2")
    shapes = learned(odd, must=1)
    for _ in range(OFTEN):
        with pytest.raises(SchemaError, match="must"):
            shapes.row({"len": "x"})
