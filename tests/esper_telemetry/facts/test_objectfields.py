"""What a value of a configuration holds."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import operator
import types
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch

from esper_telemetry.facts.objectfields import array_items, array_mark, fields_of

Pair = namedtuple("Pair", "a b")  # noqa: PYI024 - people have these


@dataclasses.dataclass
class Options:
    lr: float = 0.1
    hidden: int = dataclasses.field(default=2, repr=False)


class ConfigDict:
    """A mapping that is not registered as one, as that of ml_collections."""

    def __init__(self, values):
        self._values = values

    def keys(self):
        return self._values.keys()

    def items(self):
        return self._values.items()

    def __iter__(self):
        return iter(self._values)

    def __getitem__(self, name):
        return self._values[name]


class Inherited(argparse.Namespace):
    pass


def fields(value):
    found = fields_of(value)
    return None if found is None else {name: get() for name, get in found}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"a": 1}, {"a": 1}),
        (OrderedDict(a=1), {"a": 1}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (ConfigDict({"a": 1}), {"a": 1}),
        (argparse.Namespace(a=1), {"a": 1}),
        (Inherited(a=1), {"a": 1}),
        (types.SimpleNamespace(a=1), {"a": 1}),
        (Options(), {"lr": 0.1, "hidden": 2}),
        (Pair(1, 2), {"a": 1, "b": 2}),
        (functools.partial(operator.add, 1), {"func": operator.add, "args": (1,), "keywords": {}}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_object_of_a_known_kind_has_fields(value, found):
    assert fields(value) == found


@pytest.mark.parametrize(
    "value",
    [(1, 2), [1], {1}, object(), torch.nn.Linear(1, 1), torch.nn.ModuleDict(), np.zeros(2), Options],
    ids=lambda value: type(value).__name__,
)
def test_what_is_of_no_known_kind_is_not_searched_for_fields(value):
    assert fields(value) is None


def test_attrs_and_pydantic_objects_have_fields():
    attrs = pytest.importorskip("attrs")
    pydantic = pytest.importorskip("pydantic")
    made = attrs.make_class("Made", {"lr": attrs.field(default=0.1)})
    assert fields(made()) == {"lr": 0.1}
    model = pydantic.create_model("Model", __config__=pydantic.ConfigDict(extra="allow"), lr=(float, 0.1))
    assert fields(model(extra=1)) == {"lr": 0.1, "extra": 1}


def test_a_small_array_of_the_host_is_written_out():
    assert array_items(np.arange(3)) == [0, 1, 2]
    assert array_items(np.array(2.5)) == 2.5
    assert array_items(torch.ones(2, requires_grad=True)) == [1.0, 1.0]
    assert array_items(torch.nn.Parameter(torch.zeros(1))) == [0.0]


class Lazy(torch.Tensor):
    """A tensor of somebody's own: reading it may do anything."""


@pytest.mark.parametrize(
    ("value", "mark"),
    [
        (np.zeros((100, 100)), "<numpy.ndarray float64[100,100]>"),
        (torch.zeros(50, 50), "<torch.Tensor float32[50,50]>"),
        (torch.zeros(3, device="meta"), "<torch.Tensor float32[3]>"),
        (torch.zeros(2).as_subclass(Lazy), f"<{__name__}.Lazy float32[2]>"),
    ],
    ids=["large", "large tensor", "not in the host's memory", "of a class not known"],
)
def test_any_other_array_is_named_by_what_it_says_without_being_read(value, mark):
    assert array_items(value) is None
    assert array_mark(value) == mark
    assert array_mark(object()) is None
