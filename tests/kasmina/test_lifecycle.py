"""The moves a seed may make, and the gates in front of them, as tables."""

from __future__ import annotations

import itertools

import pytest

from esper.kasmina.lifecycle import (
    ACTIVE,
    LIVE,
    MOVES,
    Gate,
    GateLimits,
    SeedMetrics,
    SeedState,
    Stage,
    evaluate_gate,
)
from esper.v1 import seed_pb2

CHAIN = [Stage.DORMANT, Stage.GERMINATED, Stage.TRAINING, Stage.BLENDING, Stage.PROBATIONARY, Stage.FOSSILIZED]


def seed(stage=Stage.TRAINING, alpha=0.0, **metrics):
    return SeedState("s1", "norm", "linear", stage=stage, alpha=alpha, metrics=SeedMetrics(**metrics))


@pytest.mark.parametrize("ours", [Stage, Gate])
def test_numbers_and_names_are_those_of_the_schema(ours):
    theirs, prefix = {Stage: (seed_pb2.SeedStage, "SEED_STAGE_"), Gate: (seed_pb2.Gate, "GATE_")}[ours]
    declared = {name.removeprefix(prefix): number for name, number in theirs.items() if number}
    assert {member.name: member.value for member in ours} == declared


def test_every_stage_has_its_moves_and_no_other():
    allowed = set(itertools.pairwise(CHAIN))
    allowed |= {(stage, Stage.CULLED) for stage in LIVE}
    allowed |= {
        (Stage.CULLED, Stage.EMBARGOED),
        (Stage.EMBARGOED, Stage.RESETTING),
        (Stage.RESETTING, Stage.DORMANT),
    }
    assert {(before, after) for before in Stage for after in MOVES[before]} == allowed


def test_a_germinated_seed_is_live_but_takes_no_part_yet_and_a_fossil_the_other_way_round():
    assert {Stage.GERMINATED} == LIVE - ACTIVE
    assert {Stage.FOSSILIZED} == ACTIVE - LIVE


def ready_for_g2(**change):
    metrics = {
        "epochs_in_current_stage": 3,
        "accuracy": 50.5,
        "accuracy_at_stage_start": 50.0,
        "gradient_ratio": 0.05,
    }
    return seed(**{**metrics, **change})


@pytest.mark.parametrize(
    ("gate", "state", "failing"),
    [
        (Gate.G0, seed(), []),
        (Gate.G0, SeedState("", "norm", "linear"), ["identity"]),
        (Gate.G0, SeedState("s1", "", "linear"), ["identity"]),
        (Gate.G1, seed(Stage.GERMINATED), []),
        (Gate.G1, seed(Stage.TRAINING), ["stage"]),
        (Gate.G2, ready_for_g2(), []),
        (Gate.G2, ready_for_g2(epochs_in_current_stage=2), ["epochs_in_stage"]),
        (Gate.G2, ready_for_g2(accuracy=50.4), ["improvement"]),
        (Gate.G2, ready_for_g2(gradient_ratio=0.04), ["gradient_ratio"]),
        (Gate.G2, ready_for_g2(gradient_ratio=None), ["gradient_ratio"]),
        (Gate.G2, ready_for_g2(gradient_ratio=float("nan")), ["gradient_ratio"]),
        (Gate.G2, ready_for_g2(accuracy=None, gradient_ratio=None), ["improvement", "gradient_ratio"]),
        (Gate.G3, seed(Stage.BLENDING, alpha=0.95, epochs_in_current_stage=3), []),
        (Gate.G3, seed(Stage.BLENDING, alpha=0.94, epochs_in_current_stage=2), ["epochs_in_stage", "alpha"]),
        (Gate.G5, seed(Stage.PROBATIONARY, contribution=1.0, healthy=True), []),
        (Gate.G5, seed(Stage.PROBATIONARY, contribution=0.9, healthy=True), ["contribution"]),
        (Gate.G5, seed(Stage.PROBATIONARY, contribution=None, healthy=True), ["contribution"]),
        (Gate.G5, seed(Stage.PROBATIONARY, contribution=5.0, healthy=False), ["healthy"]),
        (Gate.G5, seed(Stage.PROBATIONARY, contribution=5.0, healthy=None), ["healthy"]),
    ],
)
def test_a_gate_fails_by_exactly_the_conditions_that_do_not_hold(gate, state, failing):
    result = evaluate_gate(gate, state, GateLimits())
    assert [check.metric for check in result.checks if not check.passed] == failing
    assert result.passed is (not failing)


def test_a_check_shows_its_numbers_and_leaves_out_what_was_not_measured():
    ratio = evaluate_gate(Gate.G2, ready_for_g2(gradient_ratio=None), GateLimits()).checks[2]
    assert (ratio.value, ratio.threshold) == (None, 0.05)
    stage = evaluate_gate(Gate.G1, seed(Stage.TRAINING), GateLimits()).checks[0]
    assert (stage.value, stage.threshold) == (3.0, 2.0)


@pytest.mark.parametrize("missing", ["accuracy", "accuracy_at_stage_start"])
def test_an_improvement_needs_both_its_ends(missing):
    known = {"accuracy": 60.0, "accuracy_at_stage_start": 50.0}
    assert SeedMetrics(**known).improvement == 10.0
    assert SeedMetrics(**{**known, missing: None}).improvement is None
