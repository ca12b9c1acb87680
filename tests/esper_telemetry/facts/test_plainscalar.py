"""Values of a configuration that hold no others."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import functools
import ipaddress
import math
import pathlib
import re
import uuid
from fractions import Fraction

import numpy as np
import pytest
import torch

from esper_telemetry.facts.plainscalar import NOT_SCALAR, SECRET, plain_scalar


class Color(enum.Enum):
    RED = "#f00"


class Optimizer(enum.StrEnum):
    ADAM = "adam"


class Level(enum.IntEnum):
    HIGH = 3


class Perm(enum.Flag):
    R = 1
    W = 2


class Widths(list):
    def method(self):
        """Be named."""


@functools.lru_cache
def cached():
    """Be named in spite of the cache."""


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.5, 0.5),
        (1.0, 1),
        (-0.0, 0),
        (1e300, 1e300),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        ("text", "text"),
        ("\udce9", r"\xe9"),
        (10**6000, "<int of 19932 bits>"),
        (Color.RED, "Color.RED"),
        (Optimizer.ADAM, "adam"),
        (Level.HIGH, 3),
        (Perm.R | Perm.W, "Perm.R|W"),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        (pathlib.Path, "pathlib.Path"),
        (dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC), "2026-01-02T03:00:00+00:00"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.timedelta(minutes=1.5), 90),
        (dt.UTC, "UTC"),
        (decimal.Decimal("1.50"), "1.50"),
        (Fraction(1, 3), "1/3"),
        (1 + 2j, "(1+2j)"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (ipaddress.IPv4Address("127.0.0.1"), "127.0.0.1"),
        (range(5), "range(0, 5)"),
        (re.compile("a+"), "a+"),
        (b"abc", "YWJj"),
        (b"a" * 5000, "<5000 bytes, sha256 c526c6222044dab5>"),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), "NaN"),
        (np.bool_(True), True),  # noqa: FBT003 - the value itself
        (np.str_("x"), "x"),
        (np.datetime64("2026-01-02"), "2026-01-02"),
        (np.longdouble(0.5), "0.5"),
        (np.dtype("float32"), "float32"),
        (np.float32, "numpy.float32"),
        (np.add, "numpy.add"),
        (np.mean, "numpy.mean"),
        (torch.float32, "torch.float32"),
        (torch.device("cuda:1"), "cuda:1"),
        (torch.nn.functional.relu, "torch.nn.functional.relu"),
        (torch.relu, "torch._VariableFunctionsClass.relu"),
        (torch.nn.ReLU, "torch.nn.modules.activation.ReLU"),
        (len, "builtins.len"),
        (str.lower, "str.lower"),
        (math, "math"),
        (dict, "dict"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_scalar_is_what_json_knows(value, plain):
    found = plain_scalar(value)
    assert found == plain
    assert type(found) is type(plain)


def test_functions_classes_and_methods_are_named_without_an_address():
    place = f"{__name__}."
    assert plain_scalar(cached) == place + "cached"
    assert plain_scalar(Widths) == place + "Widths"
    assert plain_scalar(Widths().method) == place + "Widths.method"
    assert plain_scalar(lambda: 1).endswith(".<locals>.<lambda>")


def test_a_value_that_hides_itself_is_a_secret():
    pydantic = pytest.importorskip("pydantic")
    assert plain_scalar(pydantic.SecretStr("abc")) == SECRET
    assert plain_scalar(pydantic.SecretBytes(b"abc")) == SECRET


@pytest.mark.parametrize(
    "value", [[], {}, (), object(), iter([1]), np.zeros(2), torch.zeros(2)], ids=lambda value: type(value).__name__
)
def test_what_holds_others_or_is_not_known_is_no_scalar(value):
    assert plain_scalar(value) is NOT_SCALAR
