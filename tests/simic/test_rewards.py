"""Rewards: every line of their definition, by numbers worked out by hand."""

import itertools
import math

import pytest

from esper.kasmina.lifecycle import SeedMetrics, SeedState, Stage
from esper.kasmina.slot import SeedSlot
from esper.simic.actions import FactoredAction, LifecycleOp
from esper.simic.rewards import (
    Reward,
    attribution,
    bounded_attribution,
    compute_rent,
    potential,
    shaping,
    terminal_reward,
)

WAIT = FactoredAction(LifecycleOp.WAIT, "early", "norm", "linear")
CULL_MID = FactoredAction(LifecycleOp.CULL, "mid", "norm", "linear")


def slot(stage, *, contribution=None, accuracy=50.0, germinated_at=45.0):
    made = SeedSlot("mid", 8)
    metrics = SeedMetrics(accuracy=accuracy, accuracy_at_germination=germinated_at, contribution=contribution)
    made.state = SeedState("s1", "norm", "linear", stage=stage, metrics=metrics)
    return made


@pytest.mark.parametrize(
    ("contribution", "progress", "credit"),
    [
        (-2.0, 5.0, -2.0),
        (-2.0, None, -2.0),
        (3.0, 0.0, 0.0),
        (3.0, -1.0, 0.0),
        (3.0, None, 0.0),
        (9.0, 4.0, 6.0),
        (4.0, 4.0, 4.0),
        (2.0, 4.0, 2.0),
    ],
)
def test_credit_is_bounded_by_progress(contribution, progress, credit):
    assert bounded_attribution(contribution, progress) == credit


def test_a_blended_seed_is_credited_with_its_contribution():
    slots = {"early": SeedSlot("early", 8), "mid": slot(Stage.BLENDING, contribution=2.0)}
    assert attribution(slots, WAIT, 1.0) == 2.0


def test_culling_a_seed_inverts_its_credit():
    assert attribution({"mid": slot(Stage.PROBATIONARY, contribution=2.0)}, CULL_MID, 1.0) == -2.0
    assert attribution({"mid": slot(Stage.PROBATIONARY, contribution=-2.0)}, CULL_MID, 1.0) == 2.0


def test_culling_another_slot_inverts_nothing():
    slots = {"early": slot(Stage.BLENDING, contribution=2.0), "mid": SeedSlot("mid", 8)}
    assert attribution(slots, CULL_MID, 1.0) == 2.0


@pytest.mark.parametrize("stage", [Stage.GERMINATED, Stage.TRAINING])
def test_before_blending_the_hosts_gain_earns_three_tenths(stage):
    assert attribution({"mid": slot(stage)}, WAIT, 2.0) == pytest.approx(0.6)
    assert attribution({"mid": slot(stage)}, WAIT, -2.0) == 0.0
    assert attribution({"mid": slot(stage)}, WAIT, None) == 0.0
    assert attribution({"mid": slot(stage)}, CULL_MID, 2.0) == pytest.approx(-0.6)


def test_the_hosts_gain_is_credited_once_however_many_seeds_train():
    slots = {"early": slot(Stage.TRAINING), "mid": slot(Stage.TRAINING)}
    assert attribution(slots, WAIT, 2.0) == pytest.approx(0.6)


@pytest.mark.parametrize("stage", [Stage.FOSSILIZED, Stage.CULLED, Stage.EMBARGOED, Stage.RESETTING])
def test_a_seed_whose_fate_is_sealed_earns_nothing_more(stage):
    assert attribution({"mid": slot(stage, contribution=5.0)}, WAIT, 2.0) == 0.0


def test_a_contribution_that_was_not_measured_earns_nothing():
    assert attribution({"mid": slot(Stage.BLENDING)}, WAIT, 2.0) == 0.0


@pytest.mark.parametrize(("seeds", "host", "rent"), [(0, 100, 0.0), (100, 100, -0.5 * math.log(2.0)), (10**9, 1, -8.0)])
def test_rent_grows_with_the_logarithm_of_the_parameters_up_to_eight(seeds, host, rent):
    assert compute_rent(seeds, host) == pytest.approx(rent)


def test_the_potential_is_the_sum_over_slots():
    slots = {"early": SeedSlot("early", 8), "mid": slot(Stage.BLENDING), "late": slot(Stage.FOSSILIZED)}
    assert potential(slots) == 9.5
    assert potential({"mid": slot(Stage.CULLED)}) == 0.0


def test_shaping_over_an_episode_depends_on_its_start_alone():
    gamma, potentials = 0.995, [0.0, 1.0, 2.0, 5.5, 0.0]
    steps = itertools.pairwise(potentials)
    total = sum(gamma**t * shaping(before, after, gamma) for t, (before, after) in enumerate(steps))
    assert total == pytest.approx(-0.3 * potentials[0])


def test_the_end_pays_for_accuracy_and_fossils():
    assert terminal_reward(80.0, 2) == pytest.approx(10.0)
    assert terminal_reward(None, 0) == 0.0


def test_the_total_is_the_sum_of_every_component():
    reward = Reward(1.0, -0.5, -0.02, 0.3, 4.0, -10.0)
    assert reward.components() == {
        "bounded_attribution": 1.0,
        "compute_rent": -0.5,
        "action_cost": -0.02,
        "shaping": 0.3,
        "terminal": 4.0,
        "rollback_penalty": -10.0,
        "total_reward": pytest.approx(-5.22),
    }
