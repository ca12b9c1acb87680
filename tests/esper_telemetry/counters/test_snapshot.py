"""A snapshot holds plain values, by the definitions of the schema; what was not measured is absent."""

from __future__ import annotations

import math

import pytest
import torch

from esper_telemetry.counters import CounterSpec, DeviceCounters, HostCounters, merge_snapshots
from esper_telemetry.errors import CounterError
from tests.esper_telemetry.counters.naive import count, counts_of, random_step, spec_of


def snapshot_of(spec, steps=(), values=(), batch_idx=1, **options):
    bank = DeviceCounters(spec, **options)
    for step in steps:
        bank.record_step(*step)
    for name, value in values:
        bank.record_scalar(name, torch.as_tensor(value))
    return bank.flush(batch_idx=batch_idx).result()


def test_scalars_are_summarised_without_their_non_finite_values():
    spec = spec_of(1, scalars=("reward", "loss", "silent"))
    values = [("reward", [1.0, 2.0, math.nan]), ("reward", 4.5), ("loss", [math.inf, -math.inf])]
    found = snapshot_of(spec, values=values).scalars
    reward = found["reward"]
    assert (reward.count, reward.sum, reward.min, reward.max, reward.non_finite) == (4, 7.5, 1.0, 4.5, 1)
    assert reward.mean == 2.5
    loss = found["loss"]
    assert (loss.count, loss.min, loss.max, loss.non_finite, loss.mean) == (2, None, None, 2, None)
    assert "silent" not in found


def test_a_bucket_is_closed_below_and_open_above():
    spec = spec_of(1, histograms={"td": (-1.0, 0.0, 1.0)})
    values = [("td", [-5.0, -1.0, -0.5, 0.0, 0.999, 1.0, math.inf, -math.inf, math.nan])]
    found = snapshot_of(spec, values=values).histograms["td"]
    assert (found.edges, found.counts, found.nan) == ((-1.0, 0.0, 1.0), [2, 2, 2, 2], 1)


def test_an_edge_that_single_precision_cannot_hold_still_sorts_single_precision_values():
    spec = spec_of(1, histograms={"td": (0.1,)})
    above = torch.tensor([0.1], dtype=torch.float32)  # 0.100000001: over the edge
    assert snapshot_of(spec, values=[("td", above)]).histograms["td"].counts == [0, 1]


def test_one_value_may_be_a_scalar_and_a_histogram():
    spec = spec_of(1, scalars=("td",), histograms={"td": (0.0,)})
    found = snapshot_of(spec, values=[("td", [-1.0, 3.0])])
    assert found.scalars["td"].sum == 2.0
    assert found.histograms["td"].counts == [1, 1]


def test_problems_name_head_count_and_meaning():
    spec = CounterSpec({"op": ("A", "B")})
    actions, masks = torch.tensor([[0], [7], [1]]), torch.tensor([[False, True], [True, True], [False, False]])
    assert snapshot_of(spec, [(actions, masks)]).problems() == [
        "head 'op': 1 of 3 decisions chose no option at all (index out of range)",
        "head 'op': 2 of 3 decisions chose a masked option",
        "head 'op': 1 of 3 decisions had every option masked",
    ]


def test_masked_options_are_what_is_left_of_the_valid_ones():
    spec = spec_of(3)
    found = snapshot_of(spec, [random_step(spec, 50, 0)])
    for head, valid in found.valid_count.items():
        assert [one + other for one, other in zip(valid, found.masked_count[head], strict=True)] == [50] * len(valid)


def test_banks_of_several_devices_are_merged_on_the_host():
    spec = spec_of(3, scalars=("reward",), histograms={"td": (0.0,)})
    steps = [random_step(spec, 4, seed) for seed in range(3)]
    parts = [
        snapshot_of(spec, [step], [("reward", [float(i), 1.0]), ("td", [float(i) - 1])], batch_idx=5, rank=i)
        for i, step in enumerate(steps)
    ]
    merged = merge_snapshots(parts)
    assert counts_of(merged) == count(spec, steps)
    assert (merged.scalars["reward"].sum, merged.scalars["reward"].max, merged.scalars["reward"].count) == (6.0, 2.0, 6)
    assert merged.histograms["td"].counts == [1, 2]
    assert (merged.batch_idx, merged.coalesced, merged.device) == (5, 0, "cpu")


def test_device_and_host_snapshots_of_one_spec_merge():
    spec = spec_of(2)
    step = random_step(spec, 4, 0)
    host = HostCounters(spec)
    host.record_step(*(part.numpy() for part in step))
    merged = merge_snapshots([host.flush(batch_idx=1).result(), snapshot_of(spec, [step])])
    assert counts_of(merged) == count(spec, [step, step])


def test_snapshots_of_different_specs_do_not_merge():
    with pytest.raises(CounterError, match="different specs"):
        merge_snapshots([snapshot_of(spec_of(1)), snapshot_of(spec_of(2))])
    with pytest.raises(CounterError, match="no snapshot"):
        merge_snapshots([])


def test_a_snapshot_says_in_short_what_it_is():
    spec = spec_of(1)
    assert repr(snapshot_of(spec, [random_step(spec, 4, 0)])) == "Snapshot(batch 1: 1 steps, 4 rows, cpu, rank 0)"
