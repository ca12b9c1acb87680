"""What a decision earns: the contribution family of rewards, component by component.

Every component is computed in every step; telemetry only decides whether it is reported. What was not
measured earns nothing and costs nothing.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from esper.kasmina.lifecycle import Stage
from esper.simic.actions import FactoredAction, LifecycleOp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esper.kasmina.slot import SeedSlot

ACTION_COSTS: Mapping[LifecycleOp, float] = {
    LifecycleOp.WAIT: 0.0,
    LifecycleOp.GERMINATE: -0.02,
    LifecycleOp.CULL: -0.005,
    LifecycleOp.FOSSILIZE: -0.01,
}
POTENTIALS: Mapping[Stage, float] = {
    Stage.GERMINATED: 1.0,
    Stage.TRAINING: 2.0,
    Stage.BLENDING: 3.5,
    Stage.PROBATIONARY: 5.5,
    Stage.FOSSILIZED: 6.0,
}
RENT_RATE, RENT_LIMIT = 0.5, 8.0
GROWTH_SHARE = 0.3
SHAPING_WEIGHT = 0.3
TERMINAL_ACCURACY = 0.05
TERMINAL_FOSSIL = 3.0


@dataclass
class Reward:
    """The components of one step's reward.

    Attributes:
        bounded_attribution: What the seeds are credited with, see `bounded_attribution`.
        compute_rent: For the parameters they add.
        action_cost: For acting at all.
        shaping: Potential-based, so it does not change which policy is best (Ng et al., 1999).
        terminal: At the end of the episode.
        rollback_penalty: If the governor had to act.
    """

    bounded_attribution: float = 0.0
    compute_rent: float = 0.0
    action_cost: float = 0.0
    shaping: float = 0.0
    terminal: float = 0.0
    rollback_penalty: float = 0.0

    @property
    def total(self) -> float:
        """Sum of the components."""
        return math.fsum(asdict(self).values())

    def components(self) -> dict[str, float]:
        """Return every component by name, and their sum as `total_reward`."""
        return {**asdict(self), "total_reward": self.total}


def bounded_attribution(contribution: float, progress: float | None) -> float:
    """Credit for a blended seed, in points.

    cf if cf < 0; 0 without progress; sqrt(progress·cf) if cf ≥ progress; else cf.
    A host may come to depend on a seed by more than it ever gained (contribution over progress): the
    geometric mean keeps that from paying in full.

    Args:
        contribution: Counterfactual contribution, in points.
        progress: Validation accuracy now less that at germination; None if not known.
    """
    if contribution < 0.0:
        return contribution
    if progress is None or progress <= 0.0:
        return 0.0
    return math.sqrt(progress * contribution) if contribution >= progress else contribution


def attribution(slots: Mapping[str, SeedSlot], action: FactoredAction, gained: float | None) -> float:
    """Sum the credit of all live seeds, as they are before the action.

    Blended seeds are credited with their contribution; while a seed trains apart, 0.3·max(0, gained), once
    however many there are: the host has one accuracy to gain. The credit of a seed that the action culls is inverted.

    Args:
        slots: All slots.
        action: What is about to be done.
        gained: Validation accuracy now less that of the epoch before, in points.
    """
    live = {name: slot for name, slot in slots.items() if slot.is_live and slot.state is not None}
    culled = action.slot_id if action.op == LifecycleOp.CULL else None
    total = 0.0
    apart = [name for name, slot in live.items() if slot.stage in (Stage.GERMINATED, Stage.TRAINING)]
    if apart:
        total += (-1.0 if culled in apart else 1.0) * GROWTH_SHARE * max(0.0, gained or 0.0)
    for name, slot in live.items():
        metrics = slot.state.metrics if slot.state is not None and name not in apart else None
        if metrics is not None and metrics.contribution is not None:
            credit = bounded_attribution(metrics.contribution, metrics.total_improvement)
            total += -credit if name == culled else credit
    return total


def compute_rent(seed_params: int, host_params: int) -> float:
    """Price of the parameters seeds add: -min(0.5·ln(1 + seed/host), 8)."""
    return -min(RENT_RATE * math.log1p(seed_params / host_params), RENT_LIMIT)


def potential(slots: Mapping[str, SeedSlot]) -> float:
    """Sum of the stages' potentials; an empty or emptied slot has none."""
    return sum(POTENTIALS.get(slot.stage, 0.0) for slot in slots.values())


def shaping(before: float, after: float, gamma: float) -> float:
    """Potential-based shaping, 0.3·(gamma·after - before); `after` is 0 at the end of an episode (Grzes, 2017)."""
    return SHAPING_WEIGHT * (gamma * after - before)


def terminal_reward(val_accuracy: float | None, fossils: int) -> float:
    """End of an episode: 0.05·accuracy + 3 per fossil; gate G5 let only contributing seeds become one."""
    return TERMINAL_ACCURACY * (val_accuracy or 0.0) + TERMINAL_FOSSIL * fossils
