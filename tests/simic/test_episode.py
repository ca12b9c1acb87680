"""An episode: what is allowed, done and earned, in the right order."""

from __future__ import annotations

import pytest

from esper.kasmina.lifecycle import Stage
from esper.simic.actions import FactoredAction, LifecycleOp
from esper.simic.config import PpoConfig
from esper.simic.environment import Environment
from esper.simic.episode import NOTHING, BatchResult, EpisodeState
from esper.simic.features import FEATURES

CONFIG = PpoConfig(max_epochs=4, n_envs=1)
WAIT = FactoredAction(LifecycleOp.WAIT, "early", "norm", "linear")


def started(task, **change):
    """An episode after its first epoch was measured."""
    config = PpoConfig.from_mapping({**CONFIG.to_mapping(), **change})
    state = EpisodeState(Environment(task, seed=1, episode=0), config)
    step(state, 1)
    return state


def step(state, epoch):
    environment = state.environment
    environment.begin_epoch(epoch, 1, terminal=epoch == state.config.max_epochs)
    for images, labels in environment.batches():
        environment.train_step(images, labels)
    environment.validate()
    state.result = environment.read(environment.measure())
    state.guard()


def planted(state, slot_id, stage):
    assert state.environment.germinate(slot_id, "norm", "linear")
    slot = state.environment.slots[slot_id]
    slot.state.stage = stage
    slot.state.alpha = 1.0 if stage in (Stage.PROBATIONARY, Stage.FOSSILIZED) else 0.0
    slot.state.metrics.epochs_total = 1
    return slot


def test_an_empty_host_may_germinate_or_wait(synthetic):
    assert started(synthetic).masks()["op"] == [True, True, False, False]


@pytest.mark.parametrize(
    ("stage", "allowed"),
    [
        (Stage.TRAINING, [True, False, True, False]),
        (Stage.PROBATIONARY, [True, False, True, True]),
        (Stage.FOSSILIZED, [True, False, False, False]),
    ],
)
def test_what_is_allowed_depends_on_the_stage(synthetic, stage, allowed):
    state = started(synthetic, slots=["mid"])
    planted(state, "mid", stage)
    masks = state.masks()
    assert masks["op"] == allowed
    assert masks["slot"] == [False, True, False]
    assert masks["blueprint"] == [False, True, True, True, True]
    assert masks["blend"] == [True, True, True]


def test_a_seed_must_be_an_epoch_old_to_be_culled(synthetic):
    state = started(synthetic)
    planted(state, "mid", Stage.TRAINING).state.metrics.epochs_total = 0
    assert not state.masks()["op"][LifecycleOp.CULL]


def test_the_control_may_only_wait(synthetic):
    assert started(synthetic, policy="wait").masks()["op"] == [True, False, False, False]


@pytest.mark.parametrize(
    ("op", "stage", "success"),
    [
        (LifecycleOp.WAIT, Stage.TRAINING, True),
        (LifecycleOp.GERMINATE, Stage.TRAINING, False),
        (LifecycleOp.CULL, Stage.TRAINING, True),
        (LifecycleOp.CULL, Stage.FOSSILIZED, False),
        (LifecycleOp.FOSSILIZE, Stage.TRAINING, False),
        (LifecycleOp.FOSSILIZE, Stage.PROBATIONARY, False),
    ],
)
def test_an_action_succeeds_only_if_it_takes_effect(synthetic, op, stage, success):
    state = started(synthetic)
    slot = planted(state, "mid", stage)
    before = slot.stage
    assert state.act(FactoredAction(op, "mid", "norm", "linear")) is success
    changed = slot.stage != before
    assert changed is (success and op != LifecycleOp.WAIT)


def test_acting_on_an_empty_slot_takes_no_effect(synthetic):
    for op in (LifecycleOp.CULL, LifecycleOp.FOSSILIZE):
        assert started(synthetic).act(FactoredAction(op, "mid", "norm", "linear")) is False


def test_germination_costs_and_is_shaped_by_the_state_it_leads_to(synthetic):
    state = started(synthetic)
    assert state.act(FactoredAction(LifecycleOp.GERMINATE, "mid", "norm", "linear"))
    (reward,) = state.rewards
    assert reward.action_cost == -0.02
    # The epoch's end takes the seed on to TRAINING, potential 2.
    assert reward.shaping == pytest.approx(0.3 * (0.995 * 2.0 - 0.0))
    assert (reward.terminal, reward.rollback_penalty, reward.bounded_attribution) == (0.0, 0.0, 0.0)


def test_the_last_epoch_pays_for_accuracy_and_takes_the_potential_back(synthetic):
    state = started(synthetic)
    for epoch in range(2, CONFIG.max_epochs):
        state.act(WAIT)
        step(state, epoch)
    planted(state, "mid", Stage.FOSSILIZED)
    state.act(WAIT)
    step(state, CONFIG.max_epochs)
    assert state.terminal
    state.act(WAIT)
    reward = state.rewards[-1]
    assert reward.shaping == pytest.approx(0.3 * -6.0)
    assert reward.terminal == pytest.approx(0.05 * state.result.val_accuracy + 3.0)
    assert reward.compute_rent < 0.0


def test_the_gain_is_that_of_one_epoch(synthetic):
    state = started(synthetic)
    assert state.gained is None
    state.act(WAIT)
    first = state.result.val_accuracy
    step(state, 2)
    assert state.gained == state.result.val_accuracy - first


def test_the_summary_is_the_sum_of_the_rewards(synthetic):
    state = started(synthetic)
    state.act(WAIT)
    step(state, 2)
    state.act(FactoredAction(LifecycleOp.GERMINATE, "mid", "norm", "linear"))
    summary = state.reward_summary()
    assert summary["total_reward"] == pytest.approx(state.episode_return)
    assert summary["action_cost"] == pytest.approx(sum(reward.action_cost for reward in state.rewards))


def test_an_observation_is_finite_and_of_one_length(synthetic):
    state = started(synthetic)
    assert len(state.observe()) == FEATURES
    state.result = NOTHING
    assert len(state.observe()) == FEATURES


def test_means_leave_out_what_was_not_measured(synthetic):
    measured, spoilt = started(synthetic), started(synthetic)
    spoilt.penalty = -10.0
    assert spoilt.final is NOTHING
    batch = BatchResult(1, 2, [measured, spoilt], None, 1.0)
    assert batch.mean("val_accuracy") == measured.result.val_accuracy
    assert BatchResult(1, 1, [spoilt], None, 1.0).mean("val_accuracy") is None
