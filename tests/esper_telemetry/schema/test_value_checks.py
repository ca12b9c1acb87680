"""What a look at a value tells: what protobuf would take is kept, and everything else is left to protobuf."""

from __future__ import annotations

import math

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor

from esper_telemetry.schema.event_block import COLUMN_TYPES
from esper_telemetry.schema.row_shape import write_shape
from esper_telemetry.schema.value_checks import LONGEST_TEXTS, value_rule, write_check, write_join
from tests.esper_telemetry.schema.foreign import foreign
from tests.esper_telemetry.schema.strategies import EVENTS, name_of

EVERYTHING = foreign("Everything", "proto3")


def check_of(name, kind):
    return write_check([(name, value_rule(EVERYTHING.DESCRIPTOR.fields_by_name[name], kind))])


@pytest.mark.parametrize("cls", EVENTS, ids=name_of)
def test_every_single_field_of_every_event_is_kept_as_the_value_that_it_is_meant_for(cls):
    kinds = {FieldDescriptor.CPPTYPE_BOOL: bool, FieldDescriptor.CPPTYPE_STRING: str}
    kinds |= dict.fromkeys((FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT), float)
    proto = descriptor_pb2.DescriptorProto()
    cls.DESCRIPTOR.CopyToProto(proto)
    listed = {field.name for field in proto.field if field.label == field.LABEL_REPEATED}
    for field in cls.DESCRIPTOR.fields:
        if field.type in COLUMN_TYPES and field.name not in listed:
            assert value_rule(field, kinds.get(field.cpp_type, int)) is not None, field.name


@pytest.mark.parametrize(
    ("field", "kind", "values"),
    [
        ("int32", int, [2**31, -(2**31) - 1]),
        ("uint64", int, [-1, 2**64]),
        ("fixed32", int, [-1, 2**32]),
        ("double", int, [2**1023]),
        ("float", float, [1e39, math.nan, math.inf]),
        ("string", str, ["\ud800", "x" * (LONGEST_TEXTS + 1), "ä" * (LONGEST_TEXTS // 2)]),
        ("enum", int, [77]),
        ("enum", str, ["no such label"]),
        ("int64", int, [True, 1.0, None, "1"]),
        ("double", float, [1, True, None]),
    ],
)
def test_a_value_that_may_not_fit_is_not_kept_and_nothing_is_raised(field, kind, values):
    check = check_of(field, kind)
    assert [check({field: value}) for value in values] == [-1] * len(values)


@pytest.mark.parametrize(
    ("field", "kind", "values"),
    [
        ("int32", int, [2**31 - 1, -(2**31), 0]),
        ("uint64", int, [0, 2**64 - 1]),
        ("double", float, [math.nan, -0.0, 5e-324]),
        ("double", int, [2**1000]),
        ("float", float, [0.1, -3.4e38]),
        ("enum", int, [-2]),
        ("enum", str, ["FIRST", "KIND_FIRST"]),
        ("bool", bool, [True]),
    ],
)
def test_a_value_that_fits_takes_no_bytes_of_its_own(field, kind, values):
    check = check_of(field, kind)
    assert [check({field: value}) for value in values] == [0] * len(values)


def test_the_bytes_of_texts_are_added_up_and_never_too_few():
    fields = EVERYTHING.DESCRIPTOR.fields_by_name
    check = write_check([(name, value_rule(fields[name], str)) for name in ("string", "bare_string")])
    assert check({"string": "ab", "bare_string": ""}) == 2
    assert check({"string": "ab", "bare_string": "\U0001f331ä"}) >= 2 + len("\U0001f331ä".encode())


def test_a_call_with_another_name_is_told_from_one_with_these():
    check = check_of("double", float)
    with pytest.raises(KeyError):
        check({"float": 0.5})


def test_a_value_of_a_subclass_is_not_kept():
    number = type("Number", (float,), {})(0.5)
    assert check_of("double", float)({"double": number}) == -1


@pytest.mark.parametrize("name", ["many_double", "inner", "bytes"])
def test_what_is_no_single_value_is_left_to_protobuf(name):
    assert value_rule(EVERYTHING.DESCRIPTOR.fields_by_name[name], float) is None


def test_a_member_of_a_oneof_is_left_to_protobuf():
    assert value_rule(foreign("Odd", "proto3").DESCRIPTOR.fields_by_name["left"], float) is None


def test_any_name_that_protobuf_takes_is_a_name():
    file = descriptor_pb2.FileDescriptorProto(name="kept.proto", package="kept", syntax="proto3")
    message = file.message_type.add(name="Kept")
    names = ("class", "_f", "type", "_v0", "len")
    for number, name in enumerate(names, start=3):
        message.field.add(name=name, number=number, type=1, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    kept = message_factory.GetMessageClass(pool.FindMessageTypeByName("kept.Kept"))
    fields = {name: float(place) for place, name in enumerate(names, 1)}
    shape = write_shape(kept.DESCRIPTOR, None, fields, [float] * len(fields))
    assert shape.check(fields) == 0
    assert shape.payload(fields) == kept(**fields).SerializeToString()


def test_fields_are_put_on_top_of_a_tuple_or_refused_as_the_check_of_them_does():
    fields = EVERYTHING.DESCRIPTOR.fields_by_name
    kinds = {"int32": int, "string": str}
    rules = [("double", None), *((name, value_rule(fields[name], kind)) for name, kind in kinds.items())]
    check, join, below = write_check(rules), write_join(rules, 100), ("below", 1000)
    given = {"string": "abc", "double": None, "int32": -5}
    assert join(given, below) == (below, 1103, ("double", "int32", "string"), None, -5, "abc")
    assert join({**given, "string": "ä"}, below)[1] == 1100 + check({**given, "string": "ä"})
    for name, wrong in (("string", 1), ("string", "\ud800"), ("int32", 2**31), ("int32", True), ("double", 0.5)):
        assert check({**given, name: wrong}) == -1
        assert join({**given, name: wrong}, below) is None
    with pytest.raises(KeyError):
        join({"string": "abc", "double": None, "uint32": 1}, below)
