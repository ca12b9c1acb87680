"""Life of a seed: its stages, the moves allowed between them, and the gates in front of some of them.

Pure logic over numbers the trainer measured. Nothing here touches a tensor, an event or a clock; what was
not measured is None, and a check of it fails.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class LifecycleError(ValueError):
    """A slot was asked for a move its stage does not allow."""


class Stage(enum.IntEnum):
    """Stage of a slot. The numbers are those of `esper.v1.SeedStage` and stay; 5 is reserved."""

    DORMANT = 1
    GERMINATED = 2
    TRAINING = 3
    BLENDING = 4
    PROBATIONARY = 6
    FOSSILIZED = 7
    CULLED = 8
    EMBARGOED = 9
    RESETTING = 10


LIVE = frozenset({Stage.GERMINATED, Stage.TRAINING, Stage.BLENDING, Stage.PROBATIONARY})
"""Stages of a seed whose fate is open."""

ACTIVE = frozenset({Stage.TRAINING, Stage.BLENDING, Stage.PROBATIONARY, Stage.FOSSILIZED})
"""Stages that take part in the forward pass."""

MOVES: Mapping[Stage, frozenset[Stage]] = {
    Stage.DORMANT: frozenset({Stage.GERMINATED}),
    Stage.GERMINATED: frozenset({Stage.TRAINING, Stage.CULLED}),
    Stage.TRAINING: frozenset({Stage.BLENDING, Stage.CULLED}),
    Stage.BLENDING: frozenset({Stage.PROBATIONARY, Stage.CULLED}),
    Stage.PROBATIONARY: frozenset({Stage.FOSSILIZED, Stage.CULLED}),
    Stage.FOSSILIZED: frozenset(),
    Stage.CULLED: frozenset({Stage.EMBARGOED}),
    Stage.EMBARGOED: frozenset({Stage.RESETTING}),
    Stage.RESETTING: frozenset({Stage.DORMANT}),
}


class Gate(enum.IntEnum):
    """A gate between two stages, numbered as `esper.v1.Gate`; 5 (G4) is reserved."""

    G0 = 1
    G1 = 2
    G2 = 3
    G3 = 4
    G5 = 6


@dataclass(frozen=True)
class GateLimits:
    """How long things take, in epochs, and what the gates ask for."""

    blend_epochs: int = 5
    embargo_epochs: int = 5
    reset_epochs: int = 1
    min_training_epochs: int = 3
    min_improvement: float = 0.5
    min_gradient_ratio: float = 0.05
    min_blending_epochs: int = 3
    min_alpha: float = 0.95
    min_contribution: float = 1.0


@dataclass
class SeedMetrics:
    """What was measured about a seed; accuracies and contribution in points, None if not measured."""

    epochs_total: int = 0
    epochs_in_current_stage: int = 0
    accuracy: float | None = None
    accuracy_at_germination: float | None = None
    accuracy_at_stage_start: float | None = None
    gradient_ratio: float | None = None
    contribution: float | None = None
    healthy: bool | None = None

    @property
    def improvement(self) -> float | None:
        """Accuracy now less that at the start of the stage; the host's own while alpha is 0."""
        return _difference(self.accuracy, self.accuracy_at_stage_start)

    @property
    def total_improvement(self) -> float | None:
        """Accuracy now less that at germination."""
        return _difference(self.accuracy, self.accuracy_at_germination)


@dataclass
class SeedState:
    """A seed, or the last one of a slot that is being emptied."""

    seed_id: str
    blueprint_id: str
    blend_id: str
    params: int = 0
    stage: Stage = Stage.DORMANT
    alpha: float = 0.0
    blend_epochs_done: int = 0
    metrics: SeedMetrics = field(default_factory=SeedMetrics)


@dataclass(frozen=True)
class GateCheck:
    """One condition of a gate: `value` must be at least `threshold` (a stage: equal to it)."""

    metric: str
    value: float | None
    threshold: float
    passed: bool


@dataclass(frozen=True)
class GateResult:
    """What a gate saw."""

    gate: Gate
    checks: tuple[GateCheck, ...]

    @property
    def passed(self) -> bool:
        """Every check passed."""
        return all(check.passed for check in self.checks)


def evaluate_gate(gate: Gate, state: SeedState, limits: GateLimits) -> GateResult:
    """Look at a seed before it may move on.

    Args:
        gate: The gate in front of the seed.
        state: The seed with its measurements.
        limits: Thresholds of the gates.

    Returns:
        Every check with its value, its threshold and whether it held.
    """
    metrics = state.metrics
    checks: tuple[GateCheck, ...]
    match gate:
        case Gate.G0:
            checks = (_at_least("identity", float(bool(state.seed_id and state.blueprint_id)), 1.0),)
        case Gate.G1:
            germinated = float(Stage.GERMINATED)
            checks = (GateCheck("stage", float(state.stage), germinated, state.stage == Stage.GERMINATED),)
        case Gate.G2:
            checks = (
                _at_least("epochs_in_stage", metrics.epochs_in_current_stage, limits.min_training_epochs),
                _at_least("improvement", metrics.improvement, limits.min_improvement),
                _at_least("gradient_ratio", metrics.gradient_ratio, limits.min_gradient_ratio),
            )
        case Gate.G3:
            checks = (
                _at_least("epochs_in_stage", metrics.epochs_in_current_stage, limits.min_blending_epochs),
                _at_least("alpha", state.alpha, limits.min_alpha),
            )
        case Gate.G5:
            healthy = None if metrics.healthy is None else float(metrics.healthy)
            checks = (
                _at_least("contribution", metrics.contribution, limits.min_contribution),
                _at_least("healthy", healthy, 1.0),
            )
    return GateResult(gate, checks)


def _at_least(metric: str, value: float | None, threshold: float) -> GateCheck:
    return GateCheck(metric, value, threshold, passed=value is not None and value >= threshold)


def _difference(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before
