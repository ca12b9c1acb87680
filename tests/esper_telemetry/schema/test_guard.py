"""The guard: plain values pass, numpy is converted, nothing on a device is read."""

from __future__ import annotations

import enum
from collections import OrderedDict
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from esper_telemetry.errors import SchemaError
from esper_telemetry.schema import plain_fields
from esper_telemetry.v1 import run_pb2


class Colour(enum.Enum):
    RED = "red"


class Stage(enum.IntEnum):
    CULLED = 8


class DeviceArray:
    """An array of some other framework: every way of reading it is a host wait."""

    def _wait(self, *_):
        raise AssertionError("the guard read a device array")

    __float__ = __int__ = __index__ = __bool__ = __iter__ = __len__ = __array__ = _wait


def test_plain_values_pass_untouched_and_without_a_copy():
    fields = {"a": 1, "b": 0.5, "c": "x", "d": True, "e": b"x", "f": None}
    assert plain_fields(fields) is fields


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(0), False),
        (np.array([1, 2]), [1, 2]),
        (np.array(3.0), 3.0),
        (Colour.RED, "red"),
        (Stage.CULLED, 8),
        (Fraction(1, 4), 0.25),
        ((1, 2), [1, 2]),
        ([np.float64(1.5), 2], [1.5, 2]),
        ([1, 2, "x", None], [1, 2, "x", None]),
        (frozenset({3}), [3]),
        ({"a": np.int32(1)}, {"a": 1}),
        (OrderedDict(a=(1,)), {"a": [1]}),
        (torch.float32, "torch.float32"),
        (torch.device("cpu"), "cpu"),
    ],
    ids=repr,
)
def test_values_of_the_host_are_converted(given, plain):
    converted = plain_fields({"value": given})["value"]
    assert converted == plain
    assert type(converted) is type(plain)


def test_a_conversion_leaves_the_fields_of_the_caller_alone():
    fields = {"a": np.int64(1), "b": 2, "c": np.int64(3)}
    assert plain_fields(fields) == {"a": 1, "b": 2, "c": 3}
    assert type(fields["a"]) is np.int64


def test_a_ready_message_passes_as_it_is():
    count = run_pb2.DropCount(count=1)
    fields = {"drops": [count], "host": count}
    assert plain_fields(fields)["host"] is count


@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(()),
        torch.ones(3),
        torch.ones((), requires_grad=True),
        torch.nn.Parameter(torch.ones(1)),
        torch.ones((), device="meta"),  # reading one raises: the guard must not
        DeviceArray(),
    ],
    ids=lambda tensor: type(tensor).__name__,
)
@pytest.mark.parametrize("nest", [lambda x: x, lambda x: [x], lambda x: {"k": (x,)}], ids=["bare", "list", "dict"])
def test_nothing_of_a_device_is_read_however_deep_it_is(tensor, nest):
    with pytest.raises(SchemaError, match=r"field 'loss' was given a .*count it with esper_telemetry\.counters"):
        plain_fields({"step": 1, "loss": nest(tensor)})


@pytest.mark.parametrize(
    "wrong", [object(), Decimal("0.1"), (n for n in (1, 2)), lambda: 0, 1j], ids=lambda wrong: type(wrong).__name__
)
def test_a_value_that_no_field_can_hold_is_refused_by_name(wrong):
    with pytest.raises(SchemaError, match="field 'value' was given a"):
        plain_fields({"value": wrong})


def test_a_number_beyond_a_double_is_refused_by_name():
    with pytest.raises(SchemaError, match="field 'value' was given a number that no double can hold"):
        plain_fields({"value": Fraction(10**400)})
