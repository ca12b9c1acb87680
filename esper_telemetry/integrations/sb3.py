"""Stable-Baselines3 and sb3-contrib: `model.learn(..., callback=EsperCallback(run))`.

Recorded are the logger's values, each update, rollout and episode (with `Monitor`), and what the policy chose and what
its masks forbade. Facts of version 2.9 that are built in: `learn` makes a new logger each time; the values of the last
update are never dumped, so they are read from the logger; masks are those in `locals` (what `env_method` gives in
`on_step` are the masks of the next step); a callback that stops a rollout gets no `on_rollout_end`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from esper_telemetry import events
from esper_telemetry.integrations.decisions import Decisions
from esper_telemetry.integrations.updates import emit_episode, emit_update, train_values
from esper_telemetry.integrations.values import missing, scalar_values

try:
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.logger import KVWriter
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
except ModuleNotFoundError as error:
    raise missing(error, "sb3") from error

if TYPE_CHECKING:
    from esper_telemetry import Run


class EsperWriter(KVWriter):
    """An output format of SB3's logger that records each dump; "esper" in `exclude=` leaves a value out.

    Args:
        run: an open run; closing the writer does not end it.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        """Record the numbers of a dump at `step`; texts, images and videos are left out."""
        kept = {key: value for key, value in key_values.items() if "esper" not in (key_excluded.get(key) or ())}
        self.run.log(scalar_values(kept), step=step)

    def close(self) -> None:
        """Do nothing: the run ends where its owner ends it."""


class EsperCallback(BaseCallback):
    """Records a training.

    Args:
        run: an open run; several calls of `learn` go on in it.
        every: environment steps between two events of a learner that has a replay buffer.
    """

    def __init__(self, run: Run, *, every: int = 2048) -> None:
        super().__init__()
        self.run, self.every = run, every
        self._batch = self._episodes = self._recorded = self._updates = 0

    def _on_training_start(self) -> None:
        if not any(getattr(one, "run", None) is self.run for one in self.logger.output_formats):
            self.logger.output_formats.append(EsperWriter(self.run))
        plain = {name: value for name, value in vars(self.model).items() if isinstance(value, (bool, int, float, str))}
        self.run.update_config({"sb3": {"algorithm": type(self.model).__name__, **plain}})
        self._decisions = Decisions(self.run, self.model.action_space)
        self._on_policy, self._recorded = isinstance(self.model, OnPolicyAlgorithm), self.num_timesteps
        self._began = time.perf_counter()

    def _on_step(self) -> bool:
        found = self.locals
        self._decisions.add(found["actions"], found.get("action_masks"))
        for env in found["dones"].nonzero()[0].tolist():
            self._episodes += 1
            emit_episode(self.run, found["infos"][env], env_id=env, step=self.num_timesteps)
        return True

    def _on_rollout_start(self) -> None:
        if self._on_policy:
            self._began = time.perf_counter()
            self._update()

    def _on_rollout_end(self) -> None:
        if self._on_policy or self.num_timesteps - self._recorded >= self.every:
            self._rollout()

    def _on_training_end(self) -> None:
        if self.num_timesteps > self._recorded:
            self._rollout()
        self._update()
        EsperWriter(self.run).write(self.logger.name_to_value, self.logger.name_to_excluded, self.num_timesteps)

    def _rollout(self) -> None:
        self._batch += 1
        now, steps = time.perf_counter(), self.num_timesteps
        fields = {"steps": steps - self._recorded, "total_steps": steps, "episodes": self._episodes}
        at = self.run.bind(batch_idx=self._batch, step=steps)
        at.emit(events.RolloutCompleted, **fields, rollout_time_ms=1e3 * (now - self._began))
        self._decisions.flush(self._batch)
        self._episodes, self._recorded, self._began = 0, steps, now
        if not self._on_policy:
            self._update()

    def _update(self) -> None:
        values = train_values(self.logger.name_to_value)
        if values.get("n_updates", self._updates) != self._updates:
            self._updates = values["n_updates"]
            rate = {} if self._on_policy else {"exploration_rate": getattr(self.model, "exploration_rate", None)}
            emitter = self.run.bind(batch_idx=self._batch, step=self.num_timesteps)
            emit_update(emitter, values, on_policy=self._on_policy, **rate)
