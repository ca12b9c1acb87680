"""One step at once, compiled or not, counts what the deferred fold counts."""

from __future__ import annotations

import pytest
import torch

from esper_telemetry.counters import DeviceCounters, new_state, update_
from esper_telemetry.counters.update import fill_buckets_
from tests.esper_telemetry.counters.naive import by_head, count, counts_of, random_step, spec_of


def compiled(function, backend):
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend=backend)


@pytest.mark.parametrize("form", ["packed", "dict"])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_update_compiles_into_one_graph_and_counts_exactly(form, backend):
    spec = spec_of()
    steps = [random_step(spec, 16, seed) for seed in range(5)]
    bank = DeviceCounters(spec, mode="inline")

    def step(state, actions, masks, success):
        update_(state, actions, masks, success)
        return actions

    run = compiled(step, backend)
    for one in steps:
        run(bank.state, *(one if form == "packed" else by_head(spec, one)))
    assert counts_of(bank.flush(batch_idx=1).result()) == count(spec, steps)


@pytest.mark.slow
def test_the_default_compiler_counts_exactly_steps_and_values():
    spec = spec_of(8, scalars=("reward",), histograms={"td": (0.0, 1.0)})
    steps = [random_step(spec, 16, seed) for seed in range(4)]
    bank = DeviceCounters(spec, mode="inline")

    def train(actions, masks, success, reward):
        bank.record_step(actions, masks, success, {"reward": reward})
        bank.record_scalar("td", reward)
        return reward * 2

    run = compiled(train, "inductor")
    for one in steps:
        run(*one, torch.full((16,), 0.5))
    found = bank.flush(batch_idx=1).result()
    assert counts_of(found) == count(spec, steps)
    assert (found.scalars["reward"].sum, found.scalars["reward"].count) == (32.0, 64)
    assert found.histograms["td"].counts == [0, 64, 0]


@pytest.mark.parametrize("mode", ["deferred", "inline"])
def test_a_bank_inside_a_compiled_region_counts_inline_without_recompiling(mode):
    spec = spec_of(2)
    steps = [random_step(spec, 4, seed) for seed in range(12)]
    bank = DeviceCounters(spec, mode=mode)

    def train(actions, masks, success):
        bank.record_step(actions, masks, success)
        return actions + 1

    torch._dynamo.utils.counters.clear()
    run = compiled(train, "eager")
    for one in steps:
        run(*one)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert counts_of(bank.flush(batch_idx=1).result()) == count(spec, steps)


def test_parts_that_are_left_out_touch_no_cell_of_theirs():
    spec = spec_of(3)
    state = new_state(spec, "cpu")
    actions, masks, success = random_step(spec, 4, 0)
    layout = state.layout
    update_(state, actions)
    assert not state.buffer[layout.chosen_valid :].any()
    assert not state.buffer[layout.succeeded : layout.chosen].any()
    before = state.buffer.clone()
    update_(state, None, masks)
    assert torch.equal(state.buffer[layout.succeeded : layout.valid], before[layout.succeeded : layout.valid])
    update_(state, actions, None, success)
    assert state.buffer[layout.succeeded : layout.chosen].any()


def test_a_bucket_holds_its_lower_edge_and_not_its_upper_one():
    spec = spec_of(1, histograms={"td": (0.1, 1.0)})
    state = new_state(spec, "cpu")
    fill_buckets_(
        state, 0, torch.tensor([-9.0, 0.1, 0.5, 1.0, float("inf"), float("-inf"), float("nan")]).double(), None
    )
    below = state.buffer[state.layout.buckets[0] + 1 :].tolist()
    assert below == [2, 4, 6], "below 0.1, below 1.0, and all that are no NaN"
