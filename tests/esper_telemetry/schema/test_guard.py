"""The guard: plain values pass, what lives on the host is converted, nothing on a device is read."""

from __future__ import annotations

import enum
from collections import OrderedDict, deque
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath

import numpy as np
import pytest
import torch

from esper_telemetry.errors import SchemaError
from esper_telemetry.schema.guard import list_items, plain_scalar, plain_value
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


class Lazy:
    """A number that only its owner can read."""

    def __float__(self):
        raise AssertionError("the guard read it")


def array_of(thing):
    array = np.empty(1, dtype=object)
    array[0] = thing
    return array


TENSORS = [
    torch.ones(()),
    torch.ones(3),
    torch.ones((), requires_grad=True),
    torch.nn.Parameter(torch.ones(1)),
    torch.ones((), device="meta"),  # reading one raises: the guard must not
    DeviceArray(),
]


@pytest.mark.parametrize("value", [1, 0.5, "x", True, b"x", None, run_pb2.DropCount(count=1)], ids=repr)
def test_plain_values_and_messages_pass_as_they_are(value):
    assert plain_value("here", value) is value


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (np.float32(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(0), False),
        (np.array([1, 2]), [1, 2]),
        (np.array(3.0), 3.0),
        (np.ma.masked, None),
        (Colour.RED, "red"),
        (Stage.CULLED, 8),
        (Fraction(1, 4), 0.25),
        ((1, 2), [1, 2]),
        (range(3), [0, 1, 2]),
        (deque([0.5], maxlen=9), [0.5]),
        ([np.float64(1.5), 2], [1.5, 2]),
        ([1, 2, "x", None], [1, 2, "x", None]),
        (frozenset({3}), [3]),
        ({"a": 1}.values(), [1]),
        ({"a": np.int32(1)}, {"a": 1}),
        (OrderedDict(a=(1,)), {"a": [1]}),
        (torch.float32, "torch.float32"),
        (torch.device("cpu"), "cpu"),
        (PurePosixPath("a/b"), "a/b"),
        (bytearray(b"x"), b"x"),
    ],
    ids=repr,
)
def test_values_of_the_host_are_converted(given, plain):
    converted = plain_value("here", given)
    assert converted == plain
    assert type(converted) is type(plain)


@pytest.mark.parametrize("one", [np.array([0.5]), np.array([[0.5]]), np.array(0.5)], ids=repr)
def test_an_array_of_numpy_with_one_element_is_that_element(one):
    assert plain_scalar("here", one) == 0.5


def test_an_array_of_another_size_is_no_single_value():
    with pytest.raises(SchemaError, match=r"here takes one value and was given a numpy array of shape \(2,\)"):
        plain_scalar("here", np.array([1, 2]))


@pytest.mark.parametrize("tensor", TENSORS, ids=lambda tensor: type(tensor).__name__)
@pytest.mark.parametrize(
    "nest",
    [lambda x: x, lambda x: [x], lambda x: {"k": (x,)}, array_of],
    ids=["bare", "list", "dict", "array"],
)
def test_nothing_of_a_device_is_read_however_deep_it_is(tensor, nest):
    with pytest.raises(SchemaError, match=r"here was given a .*count it with esper_telemetry\.counters"):
        plain_value("here", nest(tensor))


@pytest.mark.parametrize(
    "wrong",
    [
        object(),
        Decimal("0.1"),
        (n for n in (1, 2)),
        lambda: 0,
        1j,
        Lazy(),
        np.datetime64("2026-01-01"),
        np.complex64(1),
    ],
    ids=lambda wrong: type(wrong).__name__,
)
def test_a_value_that_no_field_can_hold_is_refused_by_a_reason_that_is_true(wrong):
    with pytest.raises(SchemaError, match=r"here was given a .*, which no field can hold") as refusal:
        plain_value("here", wrong)
    assert "device" not in str(refusal.value)


def test_a_number_beyond_a_double_is_refused_by_name():
    with pytest.raises(SchemaError, match="here was given a number that no double can hold"):
        plain_value("here", Fraction(10**400))


@pytest.mark.parametrize(
    "no_list",
    ["abc", b"abc", 5, {"a": 1}, torch.ones(2), DeviceArray(), iter([1])],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_list_has_no_items(no_list):
    assert list_items(no_list) is None
