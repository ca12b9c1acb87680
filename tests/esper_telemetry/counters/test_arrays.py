"""Numpy's facts and conversions; the rules they serve are tried on both banks in test_forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esper_telemetry.counters import CounterSpec
from esper_telemetry.counters.host_counters import facts_of, given_of, index_columns, mask_columns, moments_of, rows_of
from esper_telemetry.errors import CounterError

SPEC = CounterSpec({"op": 3, "slot": 2})


def test_facts_are_those_of_the_array_that_numpy_makes():
    assert facts_of("x", [1, 2]) == ("int", "int64", (2,))
    assert facts_of("x", np.float32(1)).kind == "float"
    assert facts_of("x", np.array(["a"])).kind == "other"
    assert given_of("masks", None) is None
    with pytest.raises(CounterError, match="use DeviceCounters"):
        facts_of("x", torch.ones(1))


def test_rows_of_what_does_not_fit_are_a_guess_that_never_raises():
    assert [rows_of(part) for part in ([1, 2, 3], {"op": [1, 2]}, {}, 5, None)] == [3, 2, 1, 1, 1]


def test_an_unsigned_number_over_the_range_is_no_option():
    assert index_columns(CounterSpec({"op": 2}), np.array([2**64 - 1, 1], np.uint64)).tolist() == [[2**63 - 1], [1]]


def test_masks_are_copied():
    masks = np.ones((2, 5), bool)
    kept = mask_columns(SPEC, masks)
    masks[:] = False
    assert kept.all()


def test_moments_leave_out_what_has_no_weight_or_is_not_finite():
    values, weights = np.array([1.0, np.nan, 3.0, 100.0]), np.array([1.0, 1.0, 3.0, 0.0])
    assert moments_of(values, weights) == (3, 2, [4.0, 10.0, 3.0, 1.0, 3.0])
    assert moments_of(values[1:2], weights[1:2]) == (1, 0, [0.0, 0.0, 0.0, np.inf, -np.inf])
