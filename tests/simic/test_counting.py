"""Counting in the loop: one read per batch when it is recorded, none when it is not, and never a failure."""

from __future__ import annotations

import pytest
import torch

from esper.simic.actions import HEADS
from esper.simic.counting import CountedStep, CounterBanks
from esper.telemetry import TelemetryEventType, use_run
from esper_telemetry.testing import memory_run

OPTIONS = sum(len(options) for options in HEADS.values())
WAIT, GERMINATE = [0, 0, 1, 0], [1, 2, 3, 1]


def step(actions, device="cpu", env_ids=None, **change):
    rows = len(actions)
    masks = torch.ones((rows, OPTIONS), dtype=torch.bool)
    masks[:, 7] = False
    full = {
        "device": device,
        "env_ids": range(rows) if env_ids is None else env_ids,
        "actions": torch.tensor(actions),
        "masks": masks,
        "successes": [True] * rows,
        "rewards": [0.5] * rows,
        "values": {"value": torch.arange(float(rows))},
        "context": {"inner_epoch": 1},
        "decided": [True] * rows,
    }
    return CountedStep(**{**full, **change})


@pytest.fixture
def hub():
    run, _ = memory_run(level="normal")
    with run, use_run(run) as hub:
        yield hub


def data(events, kind):
    return [event.data for event in events if event.event_type == kind]


def test_a_batch_is_counted_and_read_once(hub):
    banks = CounterBanks()
    banks.begin_batch(3, 12)
    banks.record(step([WAIT, GERMINATE]))
    banks.record(step([GERMINATE, GERMINATE], successes=[True, False]))
    events = banks.end_batch()
    (distribution,) = data(events, TelemetryEventType.ACTION_DISTRIBUTION)
    assert distribution["action_counts"] == {"WAIT": 1, "GERMINATE": 3, "CULL": 0, "FOSSILIZE": 0}
    assert distribution["success_counts"] == {"WAIT": 1, "GERMINATE": 2, "CULL": 0, "FOSSILIZE": 0}
    assert (distribution["batch_idx"], distribution["episodes_completed"]) == (3, 12)
    (masks,) = data(events, TelemetryEventType.MASK_HIT_RATES)
    assert masks["mask_hits"] == {"op": 0, "slot": 0, "blueprint": 4, "blend": 0}
    assert hub.counter_reads == 1
    assert banks.close() == []


def test_several_devices_are_added_up(hub):
    banks = CounterBanks()
    banks.begin_batch(1, 2)
    banks.record(step([WAIT], "cpu", [0]))
    banks.record(step([GERMINATE], "cpu:0", [1]))
    (distribution,) = data(banks.end_batch(), TelemetryEventType.ACTION_DISTRIBUTION)
    assert distribution["action_counts"]["WAIT"] == distribution["action_counts"]["GERMINATE"] == 1
    assert hub.counter_reads == 2


@pytest.mark.parametrize("level", ["off", "lifecycle", "minimal"])
def test_nothing_is_kept_or_read_when_nothing_is_recorded(level):
    run, _ = memory_run(level=level)
    with run, use_run(run) as hub:
        banks = CounterBanks()
        banks.begin_batch(1, 2)
        banks.record(step([WAIT]))
        assert banks.end_batch() == []
        assert (banks._banks, hub.counter_reads) == ({}, 0)


def test_without_a_run_nothing_is_kept():
    banks = CounterBanks()
    banks.begin_batch(1, 2)
    banks.record(step([WAIT]))
    assert banks.end_batch() == []
    assert banks._banks == {}


def test_counting_starts_when_the_level_is_raised():
    run, _ = memory_run(level="minimal")
    with run, use_run(run) as hub:
        banks = CounterBanks()
        for batch in (1, 2, 3):
            if batch == 2:
                hub.escalate()
            if batch == 3:
                hub.relax()
            banks.begin_batch(batch, batch)
            banks.record(step([WAIT]))
            assert bool(banks.end_batch()) is (batch == 2)


def test_a_step_that_does_not_fit_ends_the_counting_and_raises_nothing(hub, caplog):
    banks = CounterBanks()
    banks.begin_batch(1, 2)
    banks.record(step([WAIT], masks=torch.ones(1, OPTIONS + 1, dtype=torch.bool)))
    banks.record(step([WAIT]))
    assert banks.end_batch() == []
    assert "the training goes on" in caplog.text
    banks.begin_batch(2, 4)
    banks.record(step([WAIT]))
    assert banks.end_batch() == []


def test_a_block_keeps_the_rows(hub):
    hub.step_blocks = True
    banks = CounterBanks()
    banks.begin_batch(1, 2)
    assert banks.keeps_steps
    banks.record(step([WAIT, GERMINATE]))
    (block,) = data(banks.end_batch(), TelemetryEventType.STEP_BLOCK)
    assert block["row_type"] == "esper.v1.ActionTaken"
    assert (block["steps"], block["envs"]) == (1, 2)


def test_rows_in_which_nothing_was_left_to_decide_are_in_no_count(hub):
    banks = CounterBanks()
    banks.begin_batch(1, 2)
    banks.record(step([WAIT, GERMINATE], decided=[False, True]))
    events = banks.end_batch()
    (distribution,) = data(events, TelemetryEventType.ACTION_DISTRIBUTION)
    assert distribution["action_counts"] == {"WAIT": 0, "GERMINATE": 1, "CULL": 0, "FOSSILIZE": 0}
    (checked,) = data(events, TelemetryEventType.COUNTERS_CHECKED)
    assert (checked["decisions"], checked["invalid_rows"], checked["left_out"]) == (1, 1, 0)


def test_the_steps_of_the_policy_are_counted_in_the_batch_that_it_learned_from(hub):
    policy = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.1)
    banks = CounterBanks()
    banks.watch(policy, optimizer)
    seen = {}
    for batch in (1, 2, 3):
        banks.begin_batch(batch, batch)
        banks.record(step([WAIT]))
        for _ in range(batch):
            policy(torch.ones(1, 2)).sum().backward()
            optimizer.step()
        scalars = {one["name"]: one for one in data(banks.end_batch(), TelemetryEventType.SCALAR_SUMMARIZED)}
        seen[batch] = scalars["grad_norm/1"]["count"], scalars["update_ratio/0"]["count"]
    assert seen == {1: (1, 1), 2: (2, 2), 3: (3, 3)}
    assert hub.counter_reads == 3, "in the one copy of the batch"


def test_a_policy_is_not_watched_while_nothing_is_recorded():
    policy = torch.nn.Sequential(torch.nn.Linear(2, 2))
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.1)
    run, _ = memory_run(level="minimal")
    with run, use_run(run) as hub:
        banks = CounterBanks()
        banks.watch(policy, optimizer)
        for batch in (1, 2, 3):
            hub.escalate() if batch == 2 else hub.relax()
            banks.begin_batch(batch, batch)
            banks.record(step([WAIT]))
            assert bool(optimizer._optimizer_step_post_hooks) is (batch == 2)
