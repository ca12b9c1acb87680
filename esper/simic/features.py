"""What the policy sees of one environment: a fixed row of numbers, all about one in size.

A measurement is two numbers: its value and whether it was measured, so that a policy can distinguish "zero" from
"not known". Everything is on the host already; a level of telemetry has no influence on any of it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from esper.kasmina.host import SLOT_IDS
from esper.kasmina.lifecycle import Stage
from esper.simic.actions import BLUEPRINT_IDS

if TYPE_CHECKING:
    from esper.kasmina.slot import SeedSlot
    from esper.simic.environment import Environment, EpochResult

_STAGES = (
    Stage.DORMANT,
    Stage.GERMINATED,
    Stage.TRAINING,
    Stage.BLENDING,
    Stage.PROBATIONARY,
    Stage.FOSSILIZED,
)  # the last column is a slot that is being emptied
_HOST_FEATURES = 12
_SLOT_FEATURES = len(_STAGES) + 1 + 2 + 3 * 2 + len(BLUEPRINT_IDS)
FEATURES = _HOST_FEATURES + _SLOT_FEATURES * len(SLOT_IDS)
"""Length of a row."""

_POINTS = 10.0  # ten points of accuracy count as 1
_EPOCHS = 10.0
_LIMIT = 5.0


def observe(
    environment: Environment, result: EpochResult, previous_accuracy: float | None, max_epochs: int
) -> list[float]:
    """Build the row of one environment: (FEATURES,) finite numbers within ±5.

    Args:
        environment: After its epoch was read.
        result: What the epoch measured.
        previous_accuracy: Validation accuracy of the epoch before, in points; None in the first.
        max_epochs: Epochs of an episode.
    """
    model = environment.model
    gained = _difference(result.val_accuracy, previous_accuracy)
    row = [
        environment.inner_epoch / max_epochs,
        math.log1p(model.seed_params() / model.host_params()),
        *_measured(result.val_accuracy, 100.0),
        *_measured(result.val_loss, 1.0),
        *_measured(result.train_accuracy, 100.0),
        *_measured(result.train_loss, 1.0),
        *_measured(gained, _POINTS),
    ]
    for slot_id in SLOT_IDS:
        row.extend(_slot_features(environment.slots[slot_id]))
    return row


def _slot_features(slot: SeedSlot) -> list[float]:
    stages = [float(slot.stage == stage) for stage in _STAGES]
    state = slot.state
    if state is None:
        return stages + [0.0] * (_SLOT_FEATURES - len(_STAGES))
    metrics = state.metrics
    return [
        *stages,
        float(slot.stage not in _STAGES),
        state.alpha,
        min(metrics.epochs_in_current_stage / _EPOCHS, _LIMIT),
        *_measured(metrics.improvement, _POINTS),
        *_measured(metrics.contribution, _POINTS),
        *_measured(metrics.gradient_ratio, 1.0),
        *(float(state.blueprint_id == blueprint_id) for blueprint_id in BLUEPRINT_IDS),
    ]


def _measured(value: float | None, scale: float) -> tuple[float, float]:
    """Return the scaled value and 1, or two zeros for what was not measured or is not finite."""
    if value is None or not math.isfinite(value):
        return 0.0, 0.0
    return max(-_LIMIT, min(value / scale, _LIMIT)), 1.0


def _difference(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before
