"""An environment that counts, by itself, the decisions that it executed: what every record is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

gym = pytest.importorskip("gymnasium")


class MaskedEnv(gym.Env):
    """Episodes of random length in which some options are masked; `seen` has each (action, mask) that was executed.

    Args:
        sizes: options of each head; one head is Discrete, several are MultiDiscrete.
        seed: of its own randomness.
        dict_observation: observe {"observation", "action_mask"}.
    """

    def __init__(self, sizes: tuple[int, ...] = (4,), seed: int = 0, *, dict_observation: bool = False) -> None:
        self.sizes = sizes
        self._dict = dict_observation
        self.action_space = gym.spaces.Discrete(sizes[0]) if len(sizes) == 1 else gym.spaces.MultiDiscrete(sizes)
        vector = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
        mask = gym.spaces.Box(0, 1, (sum(sizes),), bool)
        self.observation_space = gym.spaces.Dict(observation=vector, action_mask=mask) if dict_observation else vector
        self._rng = np.random.default_rng(seed)
        self.seen: list[tuple[np.ndarray, np.ndarray]] = []
        self.rewards: list[float] = []

    def action_masks(self) -> np.ndarray:
        """Return the masks of the decision that comes next, as sb3-contrib asks for them."""
        return self._mask

    def _observe(self) -> Any:
        vector = self._rng.uniform(-1.0, 1.0, 3).astype(np.float32)
        return {"observation": vector, "action_mask": self._mask.copy()} if self._dict else vector

    def _draw(self) -> None:
        self._mask = self._rng.random(sum(self.sizes)) < 0.6
        start = 0
        for size in self.sizes:
            self._mask[start + self._rng.integers(size)] = True
            start += size

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        self._left = int(self._rng.integers(1, 12))
        self._draw()
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Execute a decision, and count it."""
        self.seen.append((np.atleast_1d(np.asarray(action)).copy(), self._mask.copy()))
        self.rewards.append(float(self._rng.normal()))
        self._left -= 1
        self._draw()
        return self._observe(), self.rewards[-1], self._left == 0, False, {}


def chosen_in(envs: list[MaskedEnv]) -> list[list[int]]:
    """Return by head how often each option was executed."""
    actions = np.concatenate([[action for action, _ in env.seen] for env in envs])
    return [np.bincount(actions[:, head], minlength=size).tolist() for head, size in enumerate(envs[0].sizes)]


def masked_in(envs: list[MaskedEnv]) -> list[list[int]]:
    """Return by head how often each option was masked in a decision that was executed."""
    masked = np.sum([~mask for env in envs for _, mask in env.seen], axis=0)
    return [part.tolist() for part in np.split(masked, np.cumsum(envs[0].sizes)[:-1])]
