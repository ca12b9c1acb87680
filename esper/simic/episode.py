"""One environment's episode under a policy: what is allowed, what was done, what it earned.

It puts masks, execution and reward around an `Environment` in the one order that is right: credit by the state
before the action, shaping by the state after it. It reads no device and reports nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Protocol

from esper.kasmina.lifecycle import Stage
from esper.simic.actions import FactoredAction, LifecycleOp, Masks, compute_masks, execute
from esper.simic.environment import Environment, EpochResult
from esper.simic.features import observe
from esper.simic.rewards import ACTION_COSTS, Reward, attribution, compute_rent, potential, shaping, terminal_reward

if TYPE_CHECKING:
    from collections.abc import Collection

    from esper.simic.ppo import UpdateResult

NOTHING = EpochResult(None, None, None, None, None, None, [])
"""An epoch of which nothing was measured."""


class EpisodeConfig(Protocol):
    """What of a loop's configuration matters to an episode."""

    @property
    def max_epochs(self) -> int:
        """Inner epochs of an episode."""

    @property
    def slots(self) -> Collection[str]:
        """Slots the policy may use."""

    @property
    def policy(self) -> str:
        """Who decides; "wait" is the control without growth."""

    @property
    def gamma(self) -> float:
        """Discount."""


@dataclass
class EpisodeState:
    """An environment's episode, as the loop sees it.

    Attributes:
        environment: The host with its optimisers and governor.
        config: How is trained.
        result: What the last epoch measured.
        previous_accuracy: Validation accuracy of the epoch before, in points; None if it does not count.
        penalty: For the rollback in this epoch; None without one.
        rewards: One per epoch.
    """

    environment: Environment
    config: EpisodeConfig
    result: EpochResult = NOTHING
    previous_accuracy: float | None = None
    penalty: float | None = None
    rewards: list[Reward] = field(default_factory=list)

    @property
    def terminal(self) -> bool:
        """The epoch under way is the episode's last."""
        return self.environment.inner_epoch == self.config.max_epochs

    @property
    def final(self) -> EpochResult:
        """What the last epoch measured; nothing after a rollback, whose state is another one."""
        return self.result if self.penalty is None else NOTHING

    @property
    def gained(self) -> float | None:
        """Validation accuracy now less that of the epoch before, in points."""
        now, before = self.result.val_accuracy, self.previous_accuracy
        return None if now is None or before is None else now - before

    @property
    def episode_return(self) -> float:
        """Sum of the rewards so far."""
        return sum(reward.total for reward in self.rewards)

    def guard(self) -> None:
        """Let the governor look at the epoch, and roll back if it decides that."""
        self.penalty = self.environment.roll_back() if self.environment.must_roll_back(self.result) else None

    def masks(self) -> Masks:
        """Say what is allowed now: after a rollback, and for the control without growth, to wait."""
        masks = compute_masks(self.environment.slots, self.config.slots)
        if self.penalty is not None or self.config.policy == "wait":
            masks["op"] = [op == LifecycleOp.WAIT for op in LifecycleOp]
        return masks

    def observe(self) -> list[float]:
        """Return what the policy sees: (FEATURES,) numbers."""
        return observe(self.environment, self.result, self.previous_accuracy, self.config.max_epochs)

    def act(self, action: FactoredAction) -> bool:
        """Carry the action out, end the epoch and reckon its reward; False if the action did not take effect."""
        environment = self.environment
        model, slots = environment.model, environment.slots
        reward = Reward(
            bounded_attribution=attribution(slots, action, self.gained),
            compute_rent=compute_rent(model.seed_params(), model.host_params()),
            action_cost=ACTION_COSTS[action.op],
            rollback_penalty=self.penalty or 0.0,
        )
        before = potential(slots)
        success = execute(action, environment)
        environment.end_epoch()
        reward.shaping = shaping(before, 0.0 if self.terminal else potential(slots), self.config.gamma)
        if self.terminal:
            fossils = sum(slot.stage == Stage.FOSSILIZED for slot in slots.values())
            reward.terminal = terminal_reward(self.final.val_accuracy, fossils)
        self.rewards.append(reward)
        self.previous_accuracy = self.final.val_accuracy
        return success

    def reward_summary(self) -> dict[str, float]:
        """Sum of each component over the episode, `total_reward` among them."""
        summary: dict[str, float] = {}
        for reward in self.rewards:
            for name, value in reward.components().items():
                summary[name] = summary.get(name, 0.0) + value
        return summary


@dataclass(frozen=True)
class BatchResult:
    """How a batch ended.

    Attributes:
        global_epoch: Number of the batch, from 1.
        episodes_completed: Episodes finished with it.
        episodes: By environment.
        update: What the update measured; None if there was none.
        seconds: Wall time.
    """

    global_epoch: int
    episodes_completed: int
    episodes: list[EpisodeState]
    update: UpdateResult | None
    seconds: float

    def mean(self, accuracy: str) -> float | None:
        """Mean of "val_accuracy" or "test_accuracy", in points, over the environments that have one."""
        found = [getattr(state.final, accuracy) for state in self.episodes]
        known = [value for value in found if value is not None]
        return fmean(known) if known else None

    @property
    def mean_return(self) -> float:
        """Mean return over environments."""
        return fmean(state.episode_return for state in self.episodes)
