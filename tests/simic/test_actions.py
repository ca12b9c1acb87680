"""Actions: the options of each head, and what a packed choice means."""

from __future__ import annotations

import pytest

from esper.kasmina.blending import BLENDS
from esper.kasmina.blueprints import BLUEPRINTS
from esper.kasmina.host import SLOT_IDS, GrowingHost
from esper.simic.actions import (
    BLEND_IDS,
    BLUEPRINT_IDS,
    HEADS,
    RELEVANT,
    FactoredAction,
    LifecycleOp,
    compute_masks,
    forced,
    restricted,
)


def slots():
    return GrowingHost(1, 4, seed=1).seed_slots


def test_the_heads_are_those_of_the_design():
    assert HEADS["op"] == ("WAIT", "GERMINATE", "CULL", "FOSSILIZE")
    assert HEADS["slot"] == SLOT_IDS == ("early", "mid", "late")
    assert HEADS["blueprint"] == ("noop", "conv_light", "attention", "norm", "depthwise")
    assert HEADS["blend"] == ("linear", "sigmoid", "gated")


def test_every_option_can_be_built():
    assert set(BLUEPRINT_IDS) <= set(BLUEPRINTS)
    assert set(BLEND_IDS) == set(BLENDS)


def test_a_packed_choice_is_read_head_by_head():
    assert FactoredAction.from_indices([1, 2, 3, 1]) == FactoredAction(LifecycleOp.GERMINATE, "late", "norm", "sigmoid")


@pytest.mark.parametrize("indices", [[4, 0, 0, 0], [0, 3, 0, 0]])
def test_an_option_that_does_not_exist_is_an_error(indices):
    with pytest.raises((ValueError, IndexError)):
        FactoredAction.from_indices(indices)


def test_relevance_is_that_of_the_design():
    assert RELEVANT["op"] == tuple(LifecycleOp)
    assert RELEVANT["slot"] == (LifecycleOp.GERMINATE, LifecycleOp.CULL, LifecycleOp.FOSSILIZE)
    assert RELEVANT["blueprint"] == RELEVANT["blend"] == (LifecycleOp.GERMINATE,)


def test_restricted_and_forced_are_different_things():
    masks = {"op": [True, False, False, False], "slot": [True, True, False], "blend": [True] * 3}
    assert restricted(masks) == {"op": True, "slot": True, "blend": False}
    assert forced(masks) == {"op": True, "slot": False, "blend": False}


def test_a_slot_that_is_not_enabled_counts_for_nothing():
    host_slots = slots()
    assert host_slots["late"].germinate("norm", blend_id="linear", seed_id="s1", random_seed=1)
    host_slots["late"].state.metrics.epochs_total = 1
    assert compute_masks(host_slots)["op"] == [True, True, True, False]
    assert compute_masks(host_slots, ("early", "mid"))["op"] == [True, True, False, False]
    assert compute_masks(host_slots, ("late",)) == {
        "op": [True, False, True, False],
        "slot": [False, False, True],
        "blueprint": [False, True, True, True, True],
        "blend": [True, True, True],
    }
