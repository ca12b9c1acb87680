"""gymnasium: `RecordRun(envs, run)` around a vector environment records episodes and decisions.

Like `RecordEpisodeStatistics`, and exact where a vector environment hands over rows that no environment executed: with
the default autoreset (NEXT_STEP) the action given after an end is ignored. Such a row is marked as no decision, is no
step of an episode, and `infos["esper_reset"]` tells the trainer which rows they were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry import events
from esper_telemetry.integrations.decisions import Decisions
from esper_telemetry.integrations.values import missing

try:
    import numpy as np
    from gymnasium.vector import AutoresetMode, VectorWrapper
except ModuleNotFoundError as error:
    raise missing(error, "gymnasium") from error

if TYPE_CHECKING:
    from esper_telemetry import Run


class RecordRun(VectorWrapper):
    """Records episodes and decisions of a vector environment.

    Args:
        env: the vector environment.
        run: an open run; closing the environment does not end it.
        every: steps of the vector environment in a batch.
    """

    def __init__(self, env: Any, run: Run, *, every: int = 128) -> None:
        super().__init__(env)
        self.run, self.every, self.steps = run, every, 0
        self.decisions = Decisions(run, env.single_action_space)
        self._next_step = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP) == AutoresetMode.NEXT_STEP
        self._begin()

    def _begin(self) -> None:
        self._done = np.zeros(self.num_envs, bool)
        self._returns, self._lengths = np.zeros(self.num_envs), np.zeros(self.num_envs, np.int64)

    def reset(self, **arguments: Any) -> Any:
        """Reset all environments; episodes that were running are given up."""
        self._begin()
        return self.env.reset(**arguments)

    def step(self, actions: Any, masks: Any = None) -> Any:
        """Step all environments.

        Args:
            actions: one for each environment.
            masks: what was allowed, bool [environments, options]; None where nothing is forbidden or known.
        """
        kept = np.array(actions), None if masks is None else np.array(masks)
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        valid = ~self._done if self._next_step else np.ones(self.num_envs, bool)
        self.decisions.add(*kept, valid)
        self._returns += np.where(valid, rewards, 0.0)
        self._lengths += valid
        self.steps += 1
        self._done = (terminated | truncated) & valid
        for env in self._done.nonzero()[0].tolist():
            fields = {"episode_return": float(self._returns[env]), "length": int(self._lengths[env])}
            ends = {"terminated": bool(terminated[env]), "truncated": bool(truncated[env])}
            self.run.emit(events.EpisodeCompleted, **fields, **ends, env_id=env, step=self.steps)
        self._returns[self._done], self._lengths[self._done] = 0.0, 0
        if self.steps % self.every == 0:
            self.decisions.flush(self.steps // self.every)
        return observations, rewards, terminated, truncated, {**infos, "esper_reset": ~valid}

    def close(self, **arguments: Any) -> None:
        """Record the rest, and close the environments."""
        self.decisions.flush(self.steps // self.every + 1)
        self.env.close(**arguments)
