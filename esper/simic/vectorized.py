"""The vectorised loop: PPO over several growing hosts side by side.

A batch is one episode of every environment, then one update. Within an inner epoch the data come first and the
environments inside; what the epoch measured leaves each device in one copy, the policy decides for all
environments in one call, and its actions come back in one more. Telemetry is given what happened and asked
nothing: no decision, gate or interval hangs on a level.

The helpers are the plan's; the heuristic loop uses them too. Those that look the hub up by themselves stand
here, those that are given one in `reports`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from esper.simic.actions import FactoredAction, forced, restricted
from esper.simic.agent import Agent
from esper.simic.anomalies import Escalation, TrendTracker, find_anomalies
from esper.simic.counting import CountedStep, CounterBanks
from esper.simic.environment import Environment
from esper.simic.episode import BatchResult, EpisodeState
from esper.simic.features import FEATURES
from esper.simic.reports import (
    _emit_action_distribution,
    _emit_cf_unavailable,
    _emit_mask_hit_rates,
    _emit_ppo_update_event,
    _emit_reward_summary,
    _emit_throughput,
    _last_action_event,
    _with_env_id,
    report_batch,
    report_counterfactuals,
    report_episode,
    report_epoch,
    report_throughput,
)
from esper.simic.transfer import to_host
from esper.telemetry import TelemetryEvent, TelemetryEventType, get_hub

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from esper.simic.actions import Masks
    from esper.simic.agent import AgentDecision
    from esper.simic.config import PpoConfig
    from esper.simic.ppo import UpdateResult
    from esper.tasks import Task

__all__ = [
    "BatchResult",
    "VectorizedTrainer",
    "_apply_slot_telemetry",
    "_emit_action_distribution",
    "_emit_cf_unavailable",
    "_emit_last_action",
    "_emit_mask_hit_rates",
    "_emit_ppo_update_event",
    "_emit_reward_summary",
    "_emit_throughput",
    "_with_env_id",
]

MS = 1000.0


def _apply_slot_telemetry(env_state: Any, telemetry_enabled: bool, lifecycle_only: bool) -> None:
    """Let the slots of one environment report, or put them into fast mode.

    Args:
        env_state: Has `model.seed_slots`, `env_id`, `device` and `episode`, which are read when an event happens.
        telemetry_enabled: The level is not off.
        lifecycle_only: Seed events flow although it is off.
    """

    def report(event: TelemetryEvent) -> None:
        full = _with_env_id(event, env_state.env_id, env_state.device)
        full.data["episode"] = env_state.episode
        get_hub().emit(full)

    for slot in env_state.model.seed_slots.values():
        slot.fast_mode = not (telemetry_enabled or lifecycle_only)
        slot.lifecycle_only = lifecycle_only
        slot.on_telemetry = report


def _emit_last_action(
    env_id: int,
    epoch: int,
    factored_action: Any,
    masked: Mapping[str, bool],
    success: bool,
    **more: Any,
) -> dict[str, Any]:
    """Report one environment's action right after it was executed.

    Args:
        env_id: The environment.
        epoch: Inner epoch of its episode.
        factored_action: Has `op` (an enum member), `slot_id`, `blueprint_id` and `blend_id`.
        masked: By head: at least one option was masked.
        success: The operation took effect.
        more: `forced` by head, `reward`, context.

    Returns:
        The data of the event.
    """
    event = _last_action_event(
        env_id=env_id, epoch=epoch, factored_action=factored_action, masked=masked, success=success, **more
    )
    get_hub().emit(event)
    return event.data


class VectorizedTrainer:
    """Trains hosts in batches, and the policy that grows them.

    Args:
        tasks: What is learned, by device.
        config: How.
        telemetry_enabled: The level is not off.
        lifecycle_only: Seed events flow although it is off.

    Attributes:
        agent: Decides and learns.
        global_epoch: Batches done; goes on after a resume.
        episodes_completed: Episodes done.
        trend: Where the accuracies go.
    """

    def __init__(
        self,
        tasks: Mapping[str, Task],
        config: PpoConfig,
        *,
        telemetry_enabled: bool = True,
        lifecycle_only: bool = False,
    ) -> None:
        self.tasks = tasks
        self.config = config
        self.agent = Agent(config)
        self.global_epoch = 0
        self.episodes_completed = 0
        self.trend = TrendTracker()
        self._telemetry = (telemetry_enabled, lifecycle_only)
        self._escalation = Escalation(config.escalate_batches)
        self._banks = CounterBanks()
        if self.agent.ppo is not None:
            self._banks.watch(self.agent.ppo.policy, self.agent.ppo.optimizer)

    def train(self) -> Generator[BatchResult]:
        """Train the config's batches; each is handed over when it is done."""
        try:
            for number in range(self.config.batches):
                get_hub().progress(number, self.config.batches, "batch")
                yield self._run_batch()
            get_hub().progress(self.config.batches, self.config.batches, "batch")
        finally:
            self._report_counts(self._banks.close())

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            **self.agent.state(),
            "config": self.config.to_mapping(),
            "features": FEATURES,
            "global_epoch": self.global_epoch,
            "episodes_completed": self.episodes_completed,
            "trend": self.trend.state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `state()` returned."""
        self.agent.load(state)
        self.global_epoch = state["global_epoch"]
        self.episodes_completed = state["episodes_completed"]
        self.trend.load(state["trend"])

    # A batch, from top to bottom.

    def _run_batch(self) -> BatchResult:
        hub, started = get_hub(), time.perf_counter()
        self.global_epoch += 1
        self.agent.begin_batch()
        self._banks.begin_batch(self.global_epoch, self.episodes_completed + self.config.n_envs)
        episodes = [self._new_episode(env_id) for env_id in range(self.config.n_envs)]
        with hub.phase("rollout", batch_idx=self.global_epoch):
            for inner_epoch in range(1, self.config.max_epochs + 1):
                where = {"batch_idx": self.global_epoch, "inner_epoch": inner_epoch}
                with hub.phase("train", **where):
                    self._train_hosts(episodes, inner_epoch)
                with hub.phase("measure", **where):
                    self._measure(episodes)
                with hub.phase("decide", **where):
                    self._decide(episodes)
        self.episodes_completed += len(episodes)
        with hub.phase("update", batch_idx=self.global_epoch):
            update = self._learn(episodes)
        self._report_counts(self._banks.end_batch())  # the steps of the update are in them
        if self.agent.ppo is not None:
            self._look_for_anomalies(update)
        seconds = time.perf_counter() - started
        result = BatchResult(self.global_epoch, self.episodes_completed, episodes, update, seconds)
        self._report_batch(result)
        return result

    def _new_episode(self, env_id: int) -> EpisodeState:
        device = self.config.devices[env_id % len(self.config.devices)]
        environment = Environment(
            self.tasks[device],
            seed=self.config.seed,
            episode=self.episodes_completed + env_id,
            env_id=env_id,
            device=device,
            counterfactual=self.config.counterfactual,
        )
        _apply_slot_telemetry(environment, *self._telemetry)
        return EpisodeState(environment, self.config)

    def _train_hosts(self, episodes: list[EpisodeState], inner_epoch: int) -> None:
        """Train every host for an epoch, a step of each at a time, and validate it."""
        terminal = inner_epoch == self.config.max_epochs
        environments = [episode.environment for episode in episodes]
        for environment in environments:
            environment.begin_epoch(inner_epoch, self.global_epoch, terminal=terminal)
        for shares in zip(*(environment.batches() for environment in environments), strict=True):
            for environment, (images, labels) in zip(environments, shares, strict=True):
                environment.train_step(images, labels)
        for environment in environments:
            environment.validate()

    def _measure(self, episodes: list[EpisodeState]) -> None:
        """Read what the epoch measured, in one copy per device, and let the governors look at it."""
        for device in self.config.devices:
            there = [episode for episode in episodes if episode.environment.device == device]
            for episode, packed in zip(there, to_host([one.environment.measure() for one in there]), strict=True):
                episode.result = episode.environment.read(packed)
        for episode in episodes:
            report_counterfactuals(
                get_hub(), episode.environment, episode.result, terminal=episode.terminal, slots=self.config.slots
            )
            episode.guard()

    def _decide(self, episodes: list[EpisodeState]) -> None:
        """Ask the policy once for all environments, carry its actions out, and report them."""
        masks = [episode.masks() for episode in episodes]
        observations = [one.observe() for one in episodes]
        decision = self.agent.decide(observations, masks)
        successes = []
        for episode, mask, indices in zip(episodes, masks, decision.indices, strict=True):
            action = FactoredAction.from_indices(indices)
            successes.append(episode.act(action))
            self._report_step(episode, action, mask, success=successes[-1])
        rewards = [episode.rewards[-1].total for episode in episodes]
        self.agent.reward(rewards)
        self._count(episodes, decision, successes, rewards)

    def _learn(self, episodes: list[EpisodeState]) -> UpdateResult | None:
        """Improve the policy, unless a rollback has spoilt the batch."""
        if self.agent.ppo is None:
            return None
        started = time.perf_counter()
        entropy_coef = self.config.entropy_coef(self.global_epoch)
        spoilt = any(episode.environment.fates.rollbacks for episode in episodes)
        update = None if spoilt else self.agent.learn(entropy_coef)
        skipped = {"skipped": True, "skip_reason": "rollback", "entropy_coef": entropy_coef}
        _emit_ppo_update_event(
            hub=get_hub(),
            metrics=skipped if update is None else {**update.metrics, "skipped": False},
            episodes_completed=self.episodes_completed,
            batch_idx=self.global_epoch,
            epoch=self.config.max_epochs,
            optimizer=self.agent.ppo.optimizer,
            grad_norm=None if update is None else update.grad_norm,
            update_time_ms=None if update is None else MS * (time.perf_counter() - started),
            global_epoch=self.global_epoch,
        )
        return update

    # What is reported and nowhere used.

    def _look_for_anomalies(self, update: UpdateResult | None) -> None:
        """Report what looks sick, and let telemetry record everything for some batches."""
        hub, found = get_hub(), []
        if update is not None:
            found = find_anomalies(update.metrics, update.grad_norm, update=self.agent.updates)
        for anomaly in found:
            facts = {"anomaly": anomaly.kind, "metric": anomaly.metric, "value": anomaly.value}
            data = {**facts, "threshold": anomaly.threshold, "batch_idx": self.global_epoch}
            hub.emit(TelemetryEvent(TelemetryEventType.ANOMALY_DETECTED, data))
        change = self._escalation.step(anomaly=bool(found))
        if change == "start":
            hub.escalate()
        elif change == "stop":
            hub.relax()

    def _report_step(self, episode: EpisodeState, action: FactoredAction, masks: Masks, *, success: bool) -> None:
        """Report an environment's action right after it was carried out, and its epoch."""
        environment = episode.environment
        # The block of steps holds decisions only; after a rollback nothing was left to decide.
        if not self._banks.keeps_steps or episode.penalty is not None:
            _emit_last_action(
                environment.env_id,
                environment.inner_epoch,
                action,
                restricted(masks),
                success,
                forced=forced(masks),
                reward=episode.rewards[-1].total,
                device=environment.device,
                episode=environment.episode,
                global_epoch=environment.global_epoch,
            )
        report_epoch(get_hub(), environment, episode.result, seconds=None)

    def _count(
        self, episodes: list[EpisodeState], decision: AgentDecision, successes: list[bool], rewards: list[float]
    ) -> None:
        """Hand the step to the counters of each device; nothing is computed before the end of the batch."""
        devices = self.config.devices[: len(episodes)]
        for first, device in enumerate(devices):
            share = slice(first, None, len(devices))
            step = CountedStep(
                device=device,
                env_ids=range(len(episodes))[share],
                actions=decision.actions[share].to(device, non_blocking=True),
                masks=decision.masks[share].to(device, non_blocking=True),
                successes=successes[share],
                rewards=rewards[share],
                values={"value": decision.values[share].to(device, non_blocking=True)},
                context={"inner_epoch": episodes[0].environment.inner_epoch, "global_epoch": self.global_epoch},
                decided=[episode.penalty is None for episode in episodes][share],
            )
            self._banks.record(step)

    def _report_counts(self, events: list[TelemetryEvent]) -> None:
        """Report what the counters of a batch measured, at most a batch late."""
        hub = get_hub()
        for event in events:
            if event.event_type == TelemetryEventType.ACTION_DISTRIBUTION:
                _emit_action_distribution(hub=hub, **event.data)
            elif event.event_type == TelemetryEventType.MASK_HIT_RATES:
                _emit_mask_hit_rates(hub=hub, **event.data)
            else:
                hub.emit(event)

    def _report_batch(self, result: BatchResult) -> None:
        hub, batch_idx = get_hub(), self.global_epoch
        for episode in result.episodes:
            environment, final = episode.environment, episode.final
            report_episode(
                hub,
                environment,
                val_accuracy=final.val_accuracy,
                test_accuracy=final.test_accuracy,
                seconds=result.seconds,
                episode_return=episode.episode_return,
            )
            report_throughput(hub, environment, batch_idx=batch_idx, episodes_completed=self.episodes_completed)
            _emit_reward_summary(
                hub=hub,
                env_id=environment.env_id,
                batch_idx=batch_idx,
                summary=episode.reward_summary(),
                steps=len(episode.rewards),
                device=environment.device,
                episode=environment.episode,
            )
        report_batch(
            hub,
            self.trend,
            batch_idx=batch_idx,
            episodes_completed=self.episodes_completed,
            accuracies=[episode.final.val_accuracy for episode in result.episodes],
            mean_return=result.mean_return,
            seconds=result.seconds,
        )
        scale = {"name": "ppo/reward_scale", "value": self.agent.scale.scale, "step": batch_idx}
        hub.emit(TelemetryEvent(TelemetryEventType.SCALAR_LOGGED, {**scale, "batch_idx": batch_idx}))
