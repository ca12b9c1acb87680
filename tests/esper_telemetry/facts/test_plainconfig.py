"""A configuration as people have it, as values that JSON knows."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import subprocess
import sys
from collections import deque
from enum import Enum

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_telemetry.facts.plainconfig import PlainConfig, canonical_json


class Color(Enum):
    RED = 1


@dataclasses.dataclass
class Inner:
    betas: tuple = (0.9, 0.99)


@dataclasses.dataclass
class Outer:
    lr: float = 0.1
    inner: Inner = dataclasses.field(default_factory=Inner)


class Unreadable(dict):
    def __getitem__(self, name):
        if name == "bad":
            raise KeyError(name)
        return super().__getitem__(name)


class NoText:
    def __str__(self):
        raise RuntimeError

    __repr__ = __str__


def convert(value):
    plain = PlainConfig()
    return plain.convert(value, "config"), [tuple(odd) for odd in plain.odd]


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Outer(), {"lr": 0.1, "inner": {"betas": [0.9, 0.99]}}),
        (argparse.Namespace(model=Inner()), {"model": {"betas": [0.9, 0.99]}}),
        ({"a": [{"b": (1, 2)}]}, {"a": [{"b": [1, 2]}]}),
        ({"a": {3, 1, 2}}, {"a": [1, 2, 3]}),
        ({"a": frozenset({"x", None, 1})}, {"a": ["x", 1, None]}),
        ({"a": deque([1, 2])}, {"a": [1, 2]}),
        ({"a": np.array([[1, 2]])}, {"a": [[1, 2]]}),
        ({"a": torch.tensor([0.5])}, {"a": [0.5]}),
        ({"a": torch.Size([2, 3])}, {"a": [2, 3]}),
        ({"a": {"k": 1}.keys()}, {"a": ["k"]}),
    ],
)
def test_objects_become_names_and_values(value, plain):
    assert convert(value) == (plain, [])


def test_any_key_becomes_a_text_and_none_is_lost():
    found, _ = convert({1: "int", "1": "text", None: 0, 0.5: 2, (1, 2): 3, Color.RED: 4, "\udce9": 5})
    assert found == {"1": "text", "1 (int)": "int", "null": 0, "0.5": 2, "[1,2]": 3, "Color.RED": 4, r"\xe9": 5}


def test_keys_that_look_alike_are_told_apart_whatever_their_order():
    assert convert({1: "a", "1": "b"}) == convert({"1": "b", 1: "a"})


def test_of_keys_that_look_the_same_each_keeps_its_value():
    found, _ = convert(
        {object(): 1, object(): 2, object(): 3, "\udce9": 4, r"\xe9": 5, "x" * 5000 + "a": 6, "x" * 5000: 7}
    )
    assert sorted(found.values()) == [1, 2, 3, 4, 5, 6, 7]


def test_what_is_not_known_is_named_by_its_type_and_said():
    consumed = iter([1, 2])
    found, odd = convert(
        {"o": object(), "n": NoText(), "i": consumed, "g": (n for n in range(3)), "m": memoryview(b"x")}
    )
    assert found["o"] == "<object>"
    assert found["n"] == f"<{__name__}.NoText>"
    assert found["g"] == "<generator>"
    assert found["m"] == "<memoryview>"
    assert list(consumed) == [1, 2], "an iterator is the trainer's to consume"
    assert ("config.o", "<object>") in odd
    assert " at 0x" not in json.dumps(found)


def test_an_error_costs_the_value_that_raised_it():
    found, odd = convert({"good": 1, "bad": Unreadable(bad=1, fine=2)})
    assert found == {"good": 1, "bad": {"bad": "<unreadable: KeyError>", "fine": 2}}
    assert odd == [("config.bad.bad", "<unreadable: KeyError>")]


def test_what_contains_itself_ends():
    loop = {"n": 1}
    loop["self"] = [loop]
    assert convert(loop) == ({"n": 1, "self": ["<contains itself>"]}, [("config.self[0]", "<contains itself>")])
    shared = [1]
    assert convert([shared, shared]) == ([[1], [1]], [])


def test_depth_is_cut_and_said():
    deep = inner = {}
    for _ in range(2000):
        inner["a"] = {}
        inner = inner["a"]
    found, ((place, what),) = convert(deep)
    assert what == "<cut: too deep>"
    assert place.count(".a") == 64
    assert json.dumps(found)


def test_a_tree_that_doubles_at_each_level_ends():
    laughs = ["ha"]
    for _ in range(60):
        laughs = [laughs, laughs]
    found, odd = convert(laughs)
    assert json.dumps(found)
    assert [what for _, what in odd] == ["<cut: too many values>"]


def test_a_tensor_on_a_device_is_not_read():
    class OnDevice(torch.Tensor):
        def tolist(self):
            raise AssertionError("read")

        item = __float__ = __repr__ = __str__ = __array__ = cpu = tolist

    found, _ = convert({"t": torch.zeros(3).as_subclass(OnDevice), "meta": torch.zeros((), device="meta")})
    assert found["t"].endswith("OnDevice float32[3]>")
    assert found["meta"] == "<torch.Tensor float32[]>"


@pytest.mark.gpu
def test_a_tensor_on_a_gpu_is_not_read():
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    torch.cuda.set_sync_debug_mode("error")
    try:
        found, _ = convert({"t": torch.zeros(3, device="cuda"), "s": torch.ones((), device="cuda")})
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert found == {"t": "<torch.Tensor float32[3]>", "s": "<torch.Tensor float32[]>"}


def test_omegaconf_is_resolved_and_what_cannot_be_is_marked():
    omegaconf = pytest.importorskip("omegaconf")
    given = omegaconf.OmegaConf.create({"a": 1, "b": "${a}", "l": [1, {"c": "${nope}"}], "m": "???"})
    found, odd = convert(given)
    assert (found["a"], found["b"], found["l"][0]) == (1, 1, 1)
    assert found["l"][1]["c"].startswith("<unreadable: omegaconf.")
    assert found["m"].startswith("<unreadable: omegaconf.")
    assert len(odd) == 2


def test_attrs_and_pydantic_become_their_fields():
    attrs, pydantic = pytest.importorskip("attrs"), pytest.importorskip("pydantic")
    made = attrs.make_class("Made", {"inner": attrs.field(factory=Inner)})
    model = pydantic.create_model("Model", lr=(float, 0.1), sizes=(set[int], {2, 1}))
    assert convert({"a": made(), "p": model()}) == (
        {"a": {"inner": {"betas": [0.9, 0.99]}}, "p": {"lr": 0.1, "sizes": [1, 2]}},
        [],
    )


def test_equal_configurations_are_equal_text_in_every_process():
    program = (
        "import functools, operator\n"
        "from esper_telemetry.facts.plainconfig import PlainConfig, canonical_json\n"
        "config = {'set': {'b', 'a', 'c'}, 'f': functools.partial(operator.add, 1), 'o': object(), 'l': lambda: 1}\n"
        "print(canonical_json(PlainConfig().convert(config, 'config')))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(seen) == 1


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()) | st.integers(), inner) | st.tuples(inner),
    max_leaves=20,
)


@settings(deadline=None)
@given(values)
def test_whatever_is_given_strict_json_comes_out_and_the_same_once_more(value):
    text = canonical_json(PlainConfig().convert(value, "config"))
    again = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert canonical_json(PlainConfig().convert(again, "config")) == text
    text.encode("ascii")


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.integers() | st.just(math.nan)))
def test_the_order_of_names_makes_no_difference(value):
    turned = dict(reversed(value.items()))
    space = argparse.Namespace()
    vars(space).update(turned)
    texts = {canonical_json(PlainConfig().convert(one, "config")) for one in (value, turned, space)}
    assert len(texts) == 1
