"""The results of a run as RunFinished holds them."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from esper_telemetry.recorder.closing import plain_results
from esper_telemetry.recorder.notices import settle_notices


class NoText:
    def __str__(self):
        raise RuntimeError

    __repr__ = __hash__ = __str__


class Odd(dict):
    def items(self):
        return [("a", 1), (3, 2.5)]


@pytest.mark.parametrize("value", [1, True, 0.5, math.nan, np.float32(0.5), np.array(2), Fraction(1, 2)], ids=repr)
def test_numbers_of_the_host_are_kept(value):
    found = plain_results({"a": value})
    assert found.left_out == []
    assert found.numbers["a"] == pytest.approx(float(value), nan_ok=True)


@pytest.mark.parametrize(
    "value",
    ["0.5", b"1", None, object(), NoText(), [1], {"a": 1}, 10**400, 1j, torch.ones(()), torch.zeros(3), np.zeros(3)],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_number_is_left_out_and_named(value, caplog):
    found = plain_results({"good": 1, "bad": value})
    assert found == ({"good": 1.0}, ["bad"])
    settle_notices()
    assert "results['bad'] was left out" in caplog.text


def test_a_decimal_never_raises():
    assert set(plain_results({"d": Decimal("0.5")}).numbers) <= {"d"}


def test_names_of_any_kind_are_texts():
    assert plain_results({3: 1, "\udce9": 2, None: 3}).numbers == {"3": 1.0, r"\xe9": 2.0, "None": 3.0}
    assert len(next(iter(plain_results({"x" * 10_000: 1}).numbers)).encode()) == 256
    assert plain_results(Odd()).numbers == {"a": 1.0, "3": 2.5}


@pytest.mark.parametrize("given", [None, 3, "text", [1, 2]])
def test_results_that_are_no_dict_are_left_out_whole(given):
    assert plain_results(given) == ({}, ["results"])


def test_too_many_results_are_bounded_and_the_rest_is_counted():
    found = plain_results({f"n{number}": number for number in range(5000)})
    assert len(found.numbers) == 1000
    assert len(found.left_out) == 101
    assert found.left_out[-1] == "3,900 more"
