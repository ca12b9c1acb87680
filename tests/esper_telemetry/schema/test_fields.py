"""What each kind of field takes, and how what it does not take is said."""

from __future__ import annotations

import enum
from collections import deque
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from esper_telemetry import events
from esper_telemetry.errors import SchemaError
from esper_telemetry.schema import plain_fields
from esper_telemetry.schema.encoder import build
from tests.esper_telemetry.schema.foreign import foreign

EVERYTHING = foreign("Everything", "proto3")


class Kind(enum.Enum):
    BY_NUMBER = 1
    BY_LABEL = "FIRST"


def plain(**fields):
    return plain_fields(EVERYTHING.DESCRIPTOR, fields)


@pytest.mark.parametrize(
    ("field", "given", "held"),
    [
        ("int64", True, 1),
        ("uint32", np.bool_(0), 0),
        ("int32", np.int64(7), 7),
        ("int64", np.array([7]), 7),
        ("double", True, True),
        ("double", Fraction(1, 2), 0.5),
        ("double", np.array([Fraction(1, 2)], dtype=object), 0.5),
        ("float", np.float32(0.5), 0.5),
        ("bool", 2**70, True),
        ("bool", 0, False),
        ("bool", np.bool_(1), True),
        ("enum", "FIRST", 1),
        ("enum", "KIND_FIRST", 1),
        ("enum", np.int64(-2), -2),
        ("enum", 77, 77),
        ("enum", Kind.BY_NUMBER, 1),
        ("enum", Kind.BY_LABEL, 1),
        ("string", torch.float16, "torch.float16"),
        ("bytes", memoryview(b"ab"), b"ab"),
        ("many_int64", (True, 2), [1, 2]),
        ("many_double", np.array([1.0, 2.0]), [1.0, 2.0]),
        ("many_double", deque([1, 0.5]), [1, 0.5]),
        ("many_int32", range(3), [0, 1, 2]),
        ("many_enum", ["FIRST", 0, "KIND_FAR"], [1, 0, 1 << 30]),
        ("inner", {"int64": True, "inner": {"enum": "FAR"}}, {"int64": 1, "inner": {"enum": 1 << 30}}),
    ],
)
def test_a_field_takes_whatever_has_its_meaning(field, given, held):
    assert plain(**{field: given}) == {field: held}
    assert build(EVERYTHING, {field: given}) == EVERYTHING(**{field: held})


@pytest.mark.parametrize(
    ("field", "given", "said"),
    [
        ("int64", 5.0, "field 'int64' takes an integer and was given 5.0"),
        ("int64", "5", "field 'int64' takes an integer and was given '5'"),
        ("double", "0.5", "field 'double' takes a number and was given '0.5'"),
        ("double", Decimal("0.1"), r"field 'double' was given a decimal\.Decimal, which no field can hold"),
        ("int64", Fraction(1, 2), r"field 'int64' takes an integer and was given a fractions\.Fraction"),
        ("double", np.array([1.0, 2.0]), r"field 'double' takes one value and was given a numpy array of shape \(2,\)"),
        ("bool", "yes", "field 'bool' takes True or False and was given 'yes'"),
        ("string", 5, "field 'string' takes a text and was given 5"),
        ("bytes", "x", "field 'bytes' takes bytes and was given 'x'"),
        ("enum", True, r"one of BELOW, NONE, FIRST, FAR \(or its number\) and was given True"),
        ("enum", "first", "field 'enum' takes one of BELOW, NONE, FIRST, FAR .* and was given 'first'"),
        ("many_double", 0.5, "field 'many_double' takes a list and was given 0.5"),
        ("many_string", "abc", "field 'many_string' takes a list and was given 'abc'"),
        ("many_double", [0.5, None], r"field 'many_double\[1\]' takes a number and was given None"),
        ("many_double", np.ones((2, 2)), r"field 'many_double\[0\]' takes a number and was given a list"),
        ("inner", 5, "field 'inner' takes a dict with fields of Everything and was given 5"),
        ("inner", {"inner": {"many_enum": ["NO"]}}, r"field 'inner\.inner\.many_enum\[0\]' takes one of BELOW"),
        ("inner", {"nam": 1}, "inner has no field 'nam'; its fields are double"),
        ("nam", 1, "it has no field 'nam'; its fields are double, bare_double, many_double"),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(field, given, said):
    with pytest.raises(SchemaError, match=said):
        build(EVERYTHING, {field: given})


def test_plain_values_pass_untouched_and_without_a_copy():
    fields = {"int64": 1, "double": 0.5, "string": "x", "bool": True, "bytes": b"x", "float": None}
    assert plain_fields(EVERYTHING.DESCRIPTOR, fields) is fields


def test_a_conversion_leaves_the_fields_of_the_caller_alone():
    fields = {"int64": np.int64(1), "int32": 2, "sint32": np.int64(3)}
    assert plain_fields(EVERYTHING.DESCRIPTOR, fields) == {"int64": 1, "int32": 2, "sint32": 3}
    assert type(fields["int64"]) is np.int64


def test_a_ready_message_passes_as_it_is():
    inner = EVERYTHING(int64=5)
    assert plain(inner=inner)["inner"] is inner


def test_labels_are_taken_in_lists_maps_and_nested_messages():
    drops = [{"full_name": "x", "cause": "buffer_full", "count": 1}]
    assert plain_fields(events.RunFinished.DESCRIPTOR, {"drops": drops, "outcome": "failed"}) == {
        "drops": [{"full_name": "x", "cause": 1, "count": 1}],
        "outcome": 2,
    }


def test_keys_and_values_of_a_map_follow_the_rules_of_their_kinds():
    counts = plain_fields(events.ActionDistribution.DESCRIPTOR, {"action_counts": {"a": np.int64(1), "b": True}})
    assert counts == {"action_counts": {"a": 1, "b": 1}}
    with pytest.raises(SchemaError, match=r"field 'action_counts\['a'\]' takes an integer and was given 0\.5"):
        plain_fields(events.ActionDistribution.DESCRIPTOR, {"action_counts": {"a": 0.5}})
    with pytest.raises(SchemaError, match="a key of field 'action_counts' takes a text and was given 5"):
        plain_fields(events.ActionDistribution.DESCRIPTOR, {"action_counts": {5: 1}})
    with pytest.raises(SchemaError, match=r"field 'action_counts' takes a mapping and was given a list"):
        plain_fields(events.ActionDistribution.DESCRIPTOR, {"action_counts": [("a", 1)]})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("double", "x" * 10_000_000),
        ("enum", "x" * 10_000_000),
        ("int64", 10**5000),
        ("double", 10**5000),
        ("string", b"\xff" * 10_000_000),
        ("string", "\ud800" * 10_000_000),
        ("x" * 10_000_000, 1),
        ("many_double", ["x" * 10_000_000]),
        ("int64", type("T" * 100_000, (), {})()),
    ],
    ids=["text", "label", "integer", "real", "bytes", "surrogates", "name", "item", "type"],
)
def test_a_reason_has_a_length_that_a_person_reads(field, value):
    with pytest.raises(SchemaError) as refusal:
        build(EVERYTHING, {field: value})
    assert len(str(refusal.value)) < 1200
    assert len(refusal.value.about) < 1200


def test_the_same_mistake_with_another_value_is_the_same_mistake():
    about = set()
    for value in range(20):
        with pytest.raises(SchemaError) as refusal:
            build(EVERYTHING, {"int64": 2**64 + value})
        about.add(refusal.value.about)
    assert len(about) == 1
