"""Observations: finite, bounded, and able to tell zero from not measured."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from esper.kasmina.lifecycle import Stage
from esper.simic.environment import Environment
from esper.simic.episode import NOTHING
from esper.simic.features import FEATURES, observe

HOST = 12
SLOT = (FEATURES - HOST) // 3
MEASURED = replace(NOTHING, val_accuracy=80.0, val_loss=0.5, train_accuracy=90.0, train_loss=0.25)


@pytest.fixture
def environment(synthetic):
    made = Environment(synthetic, seed=1, episode=0)
    made.begin_epoch(5, 1, terminal=False)
    return made


def test_a_row_starts_with_time_size_and_accuracy(environment):
    row = observe(environment, MEASURED, 70.0, 20)
    assert len(row) == FEATURES
    assert row[:2] == [0.25, 0.0]
    assert row[2:HOST] == [0.8, 1.0, 0.5, 1.0, 0.9, 1.0, 0.25, 1.0, 1.0, 1.0]


def test_zero_and_not_measured_look_different(environment):
    zero = observe(environment, replace(MEASURED, val_accuracy=0.0), 0.0, 20)
    unknown = observe(environment, NOTHING, None, 20)
    assert zero[2:4] == [0.0, 1.0]
    assert unknown[2:4] == [0.0, 0.0]


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_counts_as_not_measured(environment, loss):
    assert observe(environment, replace(MEASURED, val_loss=loss), None, 20)[4:6] == [0.0, 0.0]


def test_a_large_value_is_bounded(environment):
    assert observe(environment, replace(MEASURED, val_loss=1e9), None, 20)[4] == 5.0


def test_a_slot_shows_its_stage_and_its_seed(environment):
    environment.germinate("mid", "attention", "linear")
    state = environment.slots["mid"].state
    state.stage, state.alpha = Stage.BLENDING, 0.6
    state.metrics.epochs_in_current_stage = 3
    state.metrics.contribution = -2.0
    row = observe(environment, MEASURED, 70.0, 20)
    early, mid = row[HOST : HOST + SLOT], row[HOST + SLOT : HOST + 2 * SLOT]
    assert early == [1.0] + [0.0] * (SLOT - 1)
    assert mid[:7] == [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    assert mid[7:9] == [0.6, 0.3]
    assert mid[11:13] == [-0.2, 1.0]
    assert mid[13:15] == [0.0, 0.0]
    assert mid[15:] == [0.0, 0.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("stage", [Stage.CULLED, Stage.EMBARGOED, Stage.RESETTING])
def test_a_slot_that_is_being_emptied_is_told_from_an_empty_one(environment, stage):
    environment.germinate("early", "norm", "linear")
    environment.slots["early"].state.stage = stage
    assert observe(environment, MEASURED, None, 20)[HOST : HOST + 7] == [0.0] * 6 + [1.0]
