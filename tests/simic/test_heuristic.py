"""The rules, one by one, on slots in the state that a rule is about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from esper.kasmina.lifecycle import SeedMetrics, SeedState, Stage
from esper.kasmina.slot import SeedSlot
from esper.simic.actions import LifecycleOp
from esper.simic.heuristic import (
    BLEND_ROTATION,
    BLUEPRINT_ROTATION,
    WAIT,
    HeuristicPolicy,
    Observation,
)


@pytest.fixture
def slots():
    return {slot_id: SeedSlot(slot_id, 8) for slot_id in ("early", "mid", "late")}


def put(slot, stage, *, epochs=0, blueprint_id="norm", seed_id="s1", **metrics):
    slot.state = SeedState(
        seed_id,
        blueprint_id,
        "linear",
        stage=stage,
        metrics=SeedMetrics(epochs_in_current_stage=epochs, **metrics),
    )
    return slot.state


def seen(slots, epoch=10, *, loss=1.0, accuracy=50.0, since_cull=None):
    return Observation(epoch, loss, accuracy, since_cull, slots)


def settled(slots):
    """A policy that has watched a stable host on a plateau."""
    policy = HeuristicPolicy()
    for epoch in range(1, 5):
        policy.decide(seen({}, epoch))
    return policy


def decide(slots, **observed):
    return settled(slots).decide(seen(slots, **observed))


# When it plants.


def test_it_plants_on_a_stable_plateau(slots):
    decision = decide(slots)
    assert decision.op == LifecycleOp.GERMINATE
    assert (decision.slot_id, decision.blueprint_id, decision.blend_id) == ("early", "conv_light", "linear")


@pytest.mark.parametrize(("epoch", "op"), [(4, LifecycleOp.WAIT), (5, LifecycleOp.GERMINATE)])
def test_it_does_not_plant_before_the_fifth_epoch(slots, epoch, op):
    assert decide(slots, epoch=epoch).op == op


@pytest.mark.parametrize(
    ("since", "op"), [(None, LifecycleOp.GERMINATE), (4, LifecycleOp.WAIT), (5, LifecycleOp.GERMINATE)]
)
def test_it_waits_five_epochs_after_a_cull(slots, since, op):
    assert decide(slots, since_cull=since).op == op


def test_it_waits_while_accuracy_still_rises(slots):
    assert decide(slots, accuracy=50.5).op == LifecycleOp.WAIT
    assert decide(slots, accuracy=50.4).op == LifecycleOp.GERMINATE


@pytest.mark.parametrize("losses", [[1.0, 1.0, 1.0], [1.0, 1.1, 1.1, 1.1], [1.0, 1.0, 1.0, 1.04]])
def test_it_waits_until_the_loss_was_stable_three_epochs_running(slots, losses):
    policy = HeuristicPolicy()
    for loss in losses:
        assert policy.decide(seen(slots, loss=loss)) == WAIT


def test_a_host_that_was_stable_once_stays_so(slots):
    policy = settled(slots)
    assert policy.decide(seen(slots, loss=2.0)).op == LifecycleOp.GERMINATE


@pytest.mark.parametrize("stage", [Stage.GERMINATED, Stage.TRAINING, Stage.BLENDING, Stage.PROBATIONARY])
def test_it_has_one_live_seed_at_a_time(slots, stage):
    put(slots["late"], stage)
    assert decide(slots).op == LifecycleOp.WAIT


def test_it_plants_beside_fossils_and_never_where_a_slot_is_not_empty(slots):
    put(slots["early"], Stage.FOSSILIZED)
    put(slots["late"], Stage.EMBARGOED)
    assert decide(slots).slot_id == "mid"
    put(slots["mid"], Stage.FOSSILIZED)
    assert decide(slots) == WAIT


def test_it_rotates_blueprints_and_blends(slots):
    policy = settled(slots)
    decisions = [policy.decide(seen(slots)) for _ in range(6)]
    expected = [*BLUEPRINT_ROTATION, BLUEPRINT_ROTATION[0]]
    assert [decision.blueprint_id for decision in decisions] == expected
    assert [decision.blend_id for decision in decisions] == 2 * list(BLEND_ROTATION)


def culled(policy, blueprint_id):
    """Let a seed of this blueprint time out."""
    slot = SeedSlot("mid", 8)
    put(slot, Stage.TRAINING, epochs=15, blueprint_id=blueprint_id)
    assert policy.decide(seen({"mid": slot})).op == LifecycleOp.CULL


def test_a_blueprint_culled_three_times_is_passed_over_for_a_while(slots):
    policy = settled(slots)
    for _ in range(3):
        culled(policy, "attention")
    planted = [policy.decide(seen(slots)).blueprint_id for _ in range(10)]
    assert "attention" not in planted[:5]
    assert "attention" in planted[5:]


def test_two_culls_are_forgiven(slots):
    policy = settled(slots)
    for _ in range(2):
        culled(policy, "attention")
    assert "attention" in [policy.decide(seen(slots)).blueprint_id for _ in range(5)]


def test_it_goes_on_planting_although_every_blueprint_is_passed_over(slots):
    policy = settled(slots)
    for blueprint_id in BLUEPRINT_ROTATION:
        for _ in range(3):
            culled(policy, blueprint_id)
    assert policy.decide(seen(slots)).op == LifecycleOp.GERMINATE


def test_a_new_episode_must_prove_its_host_stable_but_goes_on_rotating(slots):
    policy = settled(slots)
    policy.decide(seen(slots))
    policy.begin_episode()
    first = [policy.decide(seen(slots)) for _ in range(4)]
    assert [decision.op for decision in first[:3]] == [LifecycleOp.WAIT] * 3
    assert (first[3].op, first[3].blueprint_id) == (LifecycleOp.GERMINATE, BLUEPRINT_ROTATION[1])


# How it judges.


@pytest.mark.parametrize("stage", [Stage.TRAINING, Stage.BLENDING])
@pytest.mark.parametrize(
    ("epochs", "accuracy", "reason"),
    [(5, 47.9, "degraded"), (5, 48.0, None), (4, 40.0, None), (5, None, None)],
)
def test_a_seed_under_which_the_host_gets_worse_is_culled(slots, stage, epochs, accuracy, reason):
    put(slots["mid"], stage, epochs=epochs, accuracy=accuracy, accuracy_at_stage_start=50.0)
    decision = decide(slots)
    assert decision.op == (LifecycleOp.CULL if reason else LifecycleOp.WAIT)
    if reason:
        assert (decision.slot_id, decision.reason) == ("mid", reason)


@pytest.mark.parametrize(
    ("stage", "epochs", "op"),
    [
        (Stage.TRAINING, 14, LifecycleOp.WAIT),
        (Stage.TRAINING, 15, LifecycleOp.CULL),
        (Stage.BLENDING, 15, LifecycleOp.WAIT),
    ],
)
def test_only_training_times_out(slots, stage, epochs, op):
    put(slots["mid"], stage, epochs=epochs)
    decision = decide(slots)
    assert decision.op == op
    assert decision.reason == ("timeout" if op == LifecycleOp.CULL else "policy")


def test_a_seed_on_probation_is_given_an_epoch(slots):
    put(slots["mid"], Stage.PROBATIONARY, epochs=0, contribution=-5.0)
    assert decide(slots) == WAIT


@pytest.mark.parametrize("contribution", [0.0, -3.0])
def test_a_seed_that_adds_nothing_is_culled_at_once(slots, contribution):
    put(slots["mid"], Stage.PROBATIONARY, epochs=1, contribution=contribution)
    decision = decide(slots)
    assert (decision.op, decision.reason) == (LifecycleOp.CULL, "negative_contribution")


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ({"contribution": 0.5, "healthy": True}, "no_contribution"),
        ({"contribution": 5.0, "healthy": False}, "unhealthy"),
        ({"contribution": None, "healthy": True}, "unmeasured"),
    ],
)
def test_after_five_failed_tries_a_seed_is_culled_and_the_reason_told_apart(slots, metrics, reason):
    put(slots["mid"], Stage.PROBATIONARY, epochs=1, **metrics)
    policy = settled(slots)
    decisions = [policy.decide(seen(slots)) for _ in range(6)]
    assert [decision.op for decision in decisions] == [LifecycleOp.FOSSILIZE] * 5 + [LifecycleOp.CULL]
    assert decisions[5].reason == reason


def test_tries_are_counted_by_seed(slots):
    policy = settled(slots)
    for seed_id in ("s1", "s2"):
        put(slots["mid"], Stage.PROBATIONARY, seed_id=seed_id, epochs=1, contribution=0.5, healthy=True)
        decisions = [policy.decide(seen(slots)) for _ in range(5)]
        assert {decision.op for decision in decisions} == {LifecycleOp.FOSSILIZE}


def test_losses_that_were_not_measured_are_no_sign_of_anything(slots):
    policy = HeuristicPolicy()
    for _ in range(8):
        assert policy.decide(replace(seen(slots), val_loss=None, val_accuracy=None)) == WAIT
