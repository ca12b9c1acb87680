"""The agent of the vectorised loop: decides for all environments in one call, remembers, and learns.

It sees observations and masks as host numbers and answers with host numbers; everything between stays on its
device. One copy to the CPU a decision. It knows nothing of hosts, slots or telemetry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from esper.kasmina.slot import own_randomness
from esper.simic.actions import HEADS
from esper.simic.features import FEATURES
from esper.simic.policy import LSTMPolicy, UniformPolicy
from esper.simic.ppo import PPO, UpdateResult
from esper.simic.rollout import RewardScale, Rollout
from esper.simic.transfer import to_host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esper.simic.actions import Masks
    from esper.simic.config import PpoConfig

_SAMPLING = 7_919  # keeps the stream of sampled actions apart from that of initialisation


def generator_on(device: torch.device, seed: int) -> torch.Generator:
    """Return a generator whose random numbers are drawn on `device`."""
    return torch.Generator(device).manual_seed(seed)


@dataclass(frozen=True)
class AgentDecision:
    """What was decided for B environments.

    Attributes:
        indices: By environment, one option per head.
        actions: The same on the device, (B, H).
        masks: What was allowed, (B, O) bool.
        values: What the policy expected, (B,).
    """

    indices: list[list[int]]
    actions: Tensor
    masks: Tensor
    values: Tensor


class Agent:
    """A policy with its memory of a batch.

    Args:
        config: How it decides and learns.
        features: Length of an observation.

    Attributes:
        ppo: What improves the policy; None for one that does not learn.
        updates: Updates made so far.
    """

    def __init__(self, config: PpoConfig, features: int = FEATURES) -> None:
        self.config = config
        self.device = torch.device(config.devices[0])
        self.policy: LSTMPolicy | UniformPolicy = UniformPolicy()
        self.ppo: PPO | None = None
        if config.policy == "ppo":
            with own_randomness(config.seed):
                self.policy = LSTMPolicy(features, config.hidden).to(self.device)
            self.ppo = PPO(self.policy, config)
        self.updates = 0
        self.scale = RewardScale(config.gamma)
        self._generator = generator_on(self.device, config.seed + _SAMPLING)
        self.begin_batch()

    def begin_batch(self) -> None:
        """Forget the last batch and the state of its episodes."""
        self._rollout = Rollout()
        self._state = self.policy.initial_state(self.config.n_envs)

    def decide(self, observations: list[list[float]], masks: list[Masks]) -> AgentDecision:
        """Decide one step.

        Args:
            observations: (B, F) numbers.
            masks: By environment.
        """
        seen = torch.tensor(observations).to(self.device)
        allowed = torch.tensor([[option for head in HEADS for option in mask[head]] for mask in masks]).to(self.device)
        actions, log_probs, values, self._state = self.policy.act(seen, allowed, self._state, self._generator)
        self._rollout.store(seen, allowed, actions, log_probs, values)
        (copied,) = to_host([actions])
        return AgentDecision([[int(option) for option in row] for row in copied.tolist()], actions, allowed, values)

    def reward(self, rewards: list[float]) -> None:
        """Tell what the last decision earned, by environment."""
        self._rollout.reward(rewards)

    def learn(self, entropy_coef: float) -> UpdateResult | None:
        """Improve the policy from the batch; None if it is one that does not learn."""
        if self.ppo is None:
            return None
        scale = self.scale.update(self._rollout.rewards)
        self.updates += 1
        return self.ppo.update(self._rollout.batch(scale), entropy_coef)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "policy": self.policy.state_dict(),
            "optimizer": self.ppo.optimizer.state_dict() if self.ppo is not None else {},
            "generator": self._generator.get_state(),
            "scale": self.scale.state(),
            "updates": self.updates,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `state()` returned."""
        self.policy.load_state_dict(state["policy"])
        if self.ppo is not None:
            self.ppo.optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"])
        self.scale.load(state["scale"])
        self.updates = state["updates"]
