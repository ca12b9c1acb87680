"""The heuristic policy: rules of thumb for planting, culling and keeping seeds.

It sees what the loop measured and the slots' states, and answers with one action an epoch. It draws no
random numbers and knows nothing of telemetry.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esper.kasmina.lifecycle import SeedState, Stage
from esper.simic.actions import FactoredAction, LifecycleOp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esper.kasmina.slot import SeedSlot

BLUEPRINT_ROTATION = ("conv_light", "attention", "norm", "depthwise", "conv_heavy")
BLEND_ROTATION = ("linear", "sigmoid", "gated")


@dataclass(frozen=True)
class Thresholds:
    """When the policy acts; epochs, and accuracies in points."""

    first_epoch: int = 5
    epochs_after_cull: int = 5
    stable_change: float = 0.03
    stable_epochs: int = 3
    plateau_gain: float = 0.5
    plateau_epochs: int = 3
    degraded: float = -2.0
    degraded_after: int = 5
    timeout_epochs: int = 15
    probation_epochs: int = 1
    probation_tries: int = 5
    culls_before_skip: int = 3
    skipped_turns: int = 5


WAIT = FactoredAction(LifecycleOp.WAIT)


@dataclass(frozen=True)
class Observation:
    """What the policy sees at the end of an epoch; None was not measured."""

    inner_epoch: int
    val_loss: float | None
    val_accuracy: float | None
    epochs_since_cull: int | None
    slots: Mapping[str, SeedSlot]


class HeuristicPolicy:
    """Plants when the host is stable and has stopped getting better; judges a seed by its measurements.

    The rotation of blueprints goes on from episode to episode; what is known of a host does not.
    """

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self.thresholds = thresholds or Thresholds()
        self._turn = 0
        self._planted = 0
        self._culls: Counter[str] = Counter()
        self._skipped_until: dict[str, int] = {}
        self.begin_episode()

    def begin_episode(self) -> None:
        """Forget the last host."""
        self._last_loss: float | None = None
        self._last_accuracy: float | None = None
        self._stable_for = 0
        self._stable = False
        self._plateau_for = 0
        self._tries: Counter[str] = Counter()

    def decide(self, observation: Observation) -> FactoredAction:
        """Choose one operation for this epoch."""
        self._watch_host(observation)
        for slot_id, slot in observation.slots.items():
            if slot.state is not None and slot.is_live:
                return self._judge(slot_id, slot.state)
        return self._plant(observation) if self._may_plant(observation) else WAIT

    def _watch_host(self, observation: Observation) -> None:
        """Count stable epochs (latched once reached) and epochs without a gain."""
        limits = self.thresholds
        loss, accuracy = observation.val_loss, observation.val_accuracy
        if loss is not None and self._last_loss:
            change = abs(loss - self._last_loss) / self._last_loss
            self._stable_for = self._stable_for + 1 if change < limits.stable_change else 0
            self._stable = self._stable or self._stable_for >= limits.stable_epochs
        if accuracy is not None and self._last_accuracy is not None:
            gained = accuracy - self._last_accuracy >= limits.plateau_gain
            self._plateau_for = 0 if gained else self._plateau_for + 1
        self._last_loss, self._last_accuracy = loss, accuracy

    def _may_plant(self, observation: Observation) -> bool:
        limits, since = self.thresholds, observation.epochs_since_cull
        return (
            self._stable
            and observation.inner_epoch >= limits.first_epoch
            and self._plateau_for >= limits.plateau_epochs
            and (since is None or since >= limits.epochs_after_cull)
        )

    def _plant(self, observation: Observation) -> FactoredAction:
        empty = [name for name, slot in observation.slots.items() if slot.stage == Stage.DORMANT]
        if not empty:
            return WAIT
        slot_id = empty[self._planted % len(empty)]
        blend_id = BLEND_ROTATION[self._planted % len(BLEND_ROTATION)]
        blueprint_id = self._next_blueprint()
        self._planted += 1
        return FactoredAction(LifecycleOp.GERMINATE, slot_id, blueprint_id, blend_id)

    def _next_blueprint(self) -> str:
        """Rotate, passing over what is skipped; if all are, the one whose time is over first."""
        turns = range(self._turn, self._turn + len(BLUEPRINT_ROTATION))
        order = [BLUEPRINT_ROTATION[turn % len(BLUEPRINT_ROTATION)] for turn in turns]
        waits = [max(self._skipped_until.get(blueprint, 0) - self._planted, 0) for blueprint in order]
        chosen = waits.index(min(waits))
        self._turn += chosen + 1
        return order[chosen]

    def _judge(self, slot_id: str, seed: SeedState) -> FactoredAction:
        limits, metrics = self.thresholds, seed.metrics
        epochs, improvement = metrics.epochs_in_current_stage, metrics.improvement
        if seed.stage == Stage.PROBATIONARY and epochs >= limits.probation_epochs:
            return self._judge_probation(slot_id, seed)
        degraded = improvement is not None and improvement < limits.degraded
        if seed.stage in {Stage.TRAINING, Stage.BLENDING} and epochs >= limits.degraded_after and degraded:
            return self._cull(slot_id, seed, "degraded")
        if seed.stage == Stage.TRAINING and epochs >= limits.timeout_epochs:
            return self._cull(slot_id, seed, "timeout")
        return WAIT

    def _judge_probation(self, slot_id: str, seed: SeedState) -> FactoredAction:
        """Try to fossilize, a few times; the gate has the last word."""
        contribution = seed.metrics.contribution
        if contribution is not None and contribution <= 0.0:
            return self._cull(slot_id, seed, "negative_contribution")
        if self._tries[seed.seed_id] < self.thresholds.probation_tries:
            self._tries[seed.seed_id] += 1
            return FactoredAction(LifecycleOp.FOSSILIZE, slot_id, seed.blueprint_id, seed.blend_id)
        if contribution is None:
            return self._cull(slot_id, seed, "unmeasured")
        healthy = seed.metrics.healthy
        return self._cull(slot_id, seed, "no_contribution" if healthy else "unhealthy")

    def _cull(self, slot_id: str, seed: SeedState, reason: str) -> FactoredAction:
        blueprint = seed.blueprint_id
        self._culls[blueprint] += 1
        if self._culls[blueprint] >= self.thresholds.culls_before_skip:
            self._culls[blueprint] = 0
            self._skipped_until[blueprint] = self._planted + self.thresholds.skipped_turns
        return FactoredAction(LifecycleOp.CULL, slot_id, blueprint, seed.blend_id, reason)
