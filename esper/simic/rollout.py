"""What a batch of episodes leaves to learn from: whole episodes, side by side, on the policy's device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RolloutBatch:
    """Whole episodes: T steps of B environments.

    Attributes:
        observations: (T, B, F).
        masks: (T, B, O) bool.
        actions: (T, B, H).
        log_probs: (T, B, H), when they were taken.
        values: (T, B), when they were taken.
        rewards: (T, B).
    """

    observations: Tensor
    masks: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    rewards: Tensor


class Rollout:
    """Collects the steps of a batch.

    Attributes:
        rewards: [T][B] host numbers; they go to the device once, at the end.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[Tensor, ...]] = []
        self.rewards: list[list[float]] = []

    def store(self, observations: Tensor, masks: Tensor, actions: Tensor, log_probs: Tensor, values: Tensor) -> None:
        """Keep what was seen, allowed, done and thought in one step; see `RolloutBatch` without its first dimension."""
        self._steps.append((observations, masks, actions, log_probs, values))

    def reward(self, rewards: list[float]) -> None:
        """Keep what each environment earned in the step that was stored last."""
        self.rewards.append(rewards)

    def batch(self, reward_scale: float = 1.0) -> RolloutBatch:
        """Stack the steps.

        Args:
            reward_scale: Rewards are divided by it.

        Raises:
            ValueError: If a step has no reward, or there is none.
        """
        if not self._steps or len(self._steps) != len(self.rewards):
            raise ValueError(f"{len(self._steps)} steps were stored with {len(self.rewards)} rewards")
        observations, masks, actions, log_probs, values = (
            torch.stack(column) for column in zip(*self._steps, strict=True)
        )
        rewards = torch.tensor(self.rewards, dtype=torch.float32).to(values.device) / reward_scale
        return RolloutBatch(observations, masks, actions, log_probs, values, rewards)


def advantages_and_returns(rewards: Tensor, values: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation over whole episodes (Schulman et al., 2016).

    delta_t = r_t + gamma·V_{t+1} - V_t;  A_t = delta_t + gamma·lambda·A_{t+1};  the end is terminal: V_T = A_T = 0.

    Args:
        rewards: (T, B).
        values: (T, B).
        gamma: Discount.
        lam: Lambda: 0 trusts the values, 1 the rewards.

    Returns:
        Advantages and returns (advantage + value), (T, B) each.
    """
    advantage, next_value = torch.zeros_like(values[0]), torch.zeros_like(values[0])
    advantages = []
    for reward, value in zip(reversed(rewards.unbind()), reversed(values.unbind()), strict=True):
        delta = reward + gamma * next_value - value
        advantage = delta + gamma * lam * advantage
        next_value = value
        advantages.append(advantage)
    stacked = torch.stack(advantages[::-1])
    return stacked, stacked + values


class RewardScale:
    """Running standard deviation of discounted returns: rewards divided by it have values of about one.

    Kept over batches by Welford's recurrence (1962); host numbers only.
    """

    def __init__(self, gamma: float) -> None:
        self._gamma = gamma
        self.count = 0
        self.mean = 0.0
        self.squares = 0.0

    def update(self, rewards: list[list[float]]) -> float:
        """Take the rewards of a batch, [T][B], and return the scale with them in."""
        for column in zip(*rewards, strict=True):
            total = 0.0
            for reward in reversed(column):
                total = reward + self._gamma * total
                self.count += 1
                change = total - self.mean
                self.mean += change / self.count
                self.squares += change * (total - self.mean)
        return self.scale

    @property
    def scale(self) -> float:
        """Standard deviation so far; 1 before there is one."""
        deviation = (self.squares / self.count) ** 0.5 if self.count else 0.0
        return deviation if deviation > 1e-6 else 1.0  # noqa: PLR2004 - rewards that do not differ need no scale

    def state(self) -> dict[str, float]:
        """Return what a checkpoint keeps."""
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def load(self, state: dict[str, float]) -> None:
        """Take what `state()` returned."""
        self.count, self.mean, self.squares = int(state["count"]), state["mean"], state["squares"]
