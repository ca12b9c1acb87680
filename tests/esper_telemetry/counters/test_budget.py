"""What the counters ask of a device: nothing per step, a fixed number of launches per flush, one small copy."""

from __future__ import annotations

import pytest
import torch

from esper_telemetry.counters import DeviceCounters
from tests.esper_telemetry.counters.launches import OnlyQueued
from tests.esper_telemetry.counters.naive import by_head, random_step, spec_of

FOLD_PACKED, FOLD_DICTS, SCALARS, HISTOGRAM = 26, 46, 40, 4
EDGES = (-1.0, 0.0, 1.0)


def flush_launches(bank, steps, values=()):
    bank._held.copying = False  # as on a device: references, and no copies on the host
    for step in steps:
        bank.record_step(*step)
        for name, shape in values:
            bank.record_scalar(name, torch.ones(shape))
    with OnlyQueued() as asked:
        bank.flush(batch_idx=1)
    return asked


@pytest.mark.parametrize("guard", ["auto", "always", "off"])
@pytest.mark.parametrize("heads", [1, 4, 8])
@pytest.mark.parametrize("form", ["packed", "dict"])
def test_recording_a_step_asks_nothing_of_the_device(guard, heads, form):
    spec = spec_of(heads, scalars=("reward",), histograms={"td": EDGES})
    bank = DeviceCounters(spec, guard=guard)
    packed = [random_step(spec, 16, seed) for seed in range(20)]
    steps = packed if form == "packed" else [by_head(spec, step) for step in packed]
    rewards = [torch.ones(16) for _ in steps]
    with OnlyQueued() as asked:
        for step, reward in zip(steps, rewards, strict=True):
            bank.record_step(*step, scalars={"reward": reward}, inner_epoch=1)
            bank.record_scalar("td", reward)
    assert asked.names == []


@pytest.mark.parametrize("heads", [1, 8])
@pytest.mark.parametrize(("steps", "envs"), [(1, 1), (2, 16), (32, 16), (300, 1), (16, 4096)])
def test_a_flush_of_packed_steps_stays_within_its_launches_whatever_their_number(heads, steps, envs):
    spec = spec_of(heads)
    asked = flush_launches(DeviceCounters(spec), [random_step(spec, envs, seed) for seed in range(steps)])
    assert asked.launches <= FOLD_PACKED


@pytest.mark.parametrize("heads", [1, 8])
@pytest.mark.parametrize(("steps", "envs"), [(1, 1), (32, 16), (300, 1), (16, 4096)])
def test_a_flush_of_dicts_stays_within_its_launches_whatever_their_number(heads, steps, envs):
    spec = spec_of(heads)
    packed = [random_step(spec, envs, seed) for seed in range(steps)]
    asked = flush_launches(DeviceCounters(spec), [by_head(spec, step) for step in packed])
    assert asked.launches <= FOLD_DICTS


@pytest.mark.parametrize("scalars", [1, 3, 7])
@pytest.mark.parametrize(("shape", "number"), [((), 10), ((16,), 10), ((4096,), 3), ((1,), 300)])
def test_scalars_add_a_fixed_number_of_launches_whatever_theirs(scalars, shape, number):
    names = tuple(f"scalar{i}" for i in range(scalars))
    spec = spec_of(8, scalars=names)
    steps = [random_step(spec, 16, seed) for seed in range(number)]
    bare = flush_launches(DeviceCounters(spec), steps).launches
    with_values = flush_launches(DeviceCounters(spec), steps, [(name, shape) for name in names[1:] or names])
    assert with_values.launches - bare <= SCALARS


@pytest.mark.parametrize("histograms", [1, 5])
@pytest.mark.parametrize("number", [1, 10, 300])
def test_a_histogram_adds_four_launches(histograms, number):
    names = tuple(f"histogram{i}" for i in range(histograms))
    spec = spec_of(8, histograms=dict.fromkeys(names, EDGES))
    steps = [random_step(spec, 16, seed) for seed in range(number)]
    bare = flush_launches(DeviceCounters(spec), steps).launches
    with_values = flush_launches(DeviceCounters(spec), steps, [(name, (4,)) for name in names])
    assert with_values.launches - bare <= HISTOGRAM * histograms


def test_an_inline_step_asks_for_queued_work_only():
    spec = spec_of(8, scalars=("reward",), histograms={"td": EDGES})
    bank = DeviceCounters(spec, mode="inline")
    step = random_step(spec, 16, 0)
    with OnlyQueued() as asked:
        bank.record_step(*step)
        bank.record_step(*by_head(spec, step))
        bank.record_scalar("reward", step[2])
        bank.record_scalar("td", step[0][:, 0])
    assert asked.launches <= 90


def test_all_counts_of_eight_heads_cross_in_under_two_kilobytes():
    bank = DeviceCounters(spec_of(8, scalars=("reward",)))
    assert bank.state.buffer.nbytes < 2048
    assert bank.state.buffer.dtype == torch.int64


def test_step_detail_adds_no_copy_and_few_launches():
    from esper.v1 import trainer_pb2
    from esper_telemetry.counters import StepRow

    row = StepRow(trainer_pb2.ActionTaken, success="action_success")
    spec = spec_of(8, row=row)
    asked = flush_launches(DeviceCounters(spec, steps=True), [random_step(spec, 16, seed) for seed in range(20)])
    assert asked.launches <= FOLD_PACKED + 3
