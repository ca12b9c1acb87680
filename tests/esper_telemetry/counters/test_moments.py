"""Moments of values: double precision whatever comes in, whatever the folds, and equal to numpy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from esper_telemetry.counters import DeviceCounters, HostCounters, merge_snapshots, new_state
from esper_telemetry.counters.update import add_moments_, reals_of
from tests.esper_telemetry.counters.naive import spec_of

SPEC = spec_of(1, scalars=("a", "b"))


def test_sums_are_taken_in_double_precision_and_leave_non_finite_values_out():
    state = new_state(SPEC, "cpu")
    inf = float("inf")
    add_moments_(state, 0, torch.tensor([[1e8, 1.0, float("nan")], [inf, -2.0, 3.0]], dtype=torch.float32), None)
    add_moments_(state, 1, torch.tensor([[0.5]], dtype=torch.float16), None)
    weights, sums, _, mins, maxs = reals_of(state).tolist()
    assert (weights, sums, mins, maxs) == ([2.0, 3.0], [1e8 + 1.0, 1.5], [1.0, -2.0], [1e8, 3.0])
    layout = state.layout
    assert state.buffer[layout.recorded : layout.recorded + 2].tolist() == [3, 4]
    assert state.buffer[layout.finite : layout.finite + 2].tolist() == [2, 3]


def test_more_than_two_to_the_24_values_of_single_precision_are_all_counted():
    state = new_state(SPEC, "cpu")
    ones = torch.ones(1, 2**23 + 1)
    for _ in range(2):
        add_moments_(state, 0, ones, None)
    assert reals_of(state)[1, 0] == 2**24 + 2


@pytest.mark.parametrize("bank_class", [DeviceCounters, HostCounters])
@pytest.mark.parametrize("weighted", [False, True])
def test_mean_and_spread_equal_numpys_over_any_number_of_folds(bank_class, weighted):
    rng = np.random.default_rng(0)
    values = [rng.normal(1e6, 1e-3, size) for size in (1, 100, 7, 1)]
    weights = [rng.random(len(one)) * (rng.random(len(one)) < 0.7) for one in values]
    bank = bank_class(SPEC, max_pending_bytes=1)
    for value, weight in zip(values, weights, strict=True):
        given = [value, weight] if weighted else [value]
        bank.record_scalar("a", *map(torch.from_numpy, given) if bank_class is DeviceCounters else given)
    found = bank.flush(batch_idx=1).result().scalars["a"]
    every, weight = np.concatenate(values), np.concatenate(weights) if weighted else np.ones(109)
    mean = np.average(every, weights=weight)
    assert found.mean == pytest.approx(mean, rel=1e-14)
    assert found.std == pytest.approx(math.sqrt(np.average((every - mean) ** 2, weights=weight)), rel=1e-5)
    assert (found.count, found.weight) == ((weight != 0).sum(), pytest.approx(weight.sum()))
    assert (found.min, found.max) == (every[weight != 0].min(), every[weight != 0].max())


def test_merging_snapshots_gives_the_moments_of_all_values():
    parts = []
    for values in ([1.0, 2.0], [10.0], [math.nan]):
        bank = DeviceCounters(SPEC)
        bank.record_scalar("a", torch.tensor(values))
        parts.append(bank.flush(batch_idx=1).result())
    found = merge_snapshots(parts).scalars["a"]
    assert (found.count, found.non_finite, found.mean) == (4, 1, 13 / 3)
    assert found.std == pytest.approx(np.std([1.0, 2.0, 10.0]))


@pytest.mark.parametrize("mode", ["deferred", "inline"])
def test_a_bool_weight_leaves_values_out_of_summary_and_histogram(mode):
    bank = DeviceCounters(spec_of(1, scalars=("a", "b"), histograms={"a": (0.0,)}), mode=mode)
    bank.record_scalar("a", torch.tensor([1.0, -5.0, math.nan, 3.0]), torch.tensor([True, False, True, True]))
    bank.record_scalar("b", torch.tensor([4.0, 6.0]), torch.tensor(0.5))
    found = bank.flush(batch_idx=1).result()
    assert (found.scalars["a"].count, found.scalars["a"].sum, found.scalars["a"].non_finite) == (3, 4.0, 1)
    assert (found.histograms["a"].counts, found.histograms["a"].nan) == ([0, 2], 1)
    assert (found.scalars["b"].mean, found.scalars["b"].weight) == (5.0, 1.0)


def test_weights_of_another_shape_are_refused():
    bank = HostCounters(SPEC)
    with pytest.raises(Exception, match=r"weight of scalar \'a\': shape is \(3,\); give that of the value, \(2,\)"):
        bank.record_scalar("a", [1.0, 2.0], [1.0, 1.0, 1.0])
