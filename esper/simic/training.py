"""The heuristic loop: one host after the other, grown by rules of thumb.

It waits for the device once an epoch, in `to_host`. What it reports changes nothing it does.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from esper.kasmina.host import SLOT_IDS
from esper.simic.actions import LifecycleOp
from esper.simic.anomalies import TrendTracker
from esper.simic.environment import Environment, EpochResult, Fates
from esper.simic.episode import EpisodeState
from esper.simic.heuristic import WAIT, HeuristicPolicy, Observation
from esper.simic.reports import (
    report_batch,
    report_counterfactuals,
    report_episode,
    report_epoch,
    report_throughput,
)
from esper.simic.transfer import to_host
from esper.simic.vectorized import (
    _apply_slot_telemetry,
    _emit_action_distribution,
    _emit_last_action,
    _emit_reward_summary,
)
from esper.telemetry import get_hub

if TYPE_CHECKING:
    from esper.kasmina.host import GrowingHost
    from esper.simic.actions import FactoredAction
    from esper.tasks import Task

Progress = Callable[[Environment, EpochResult], None]


@dataclass(frozen=True)
class HeuristicConfig:
    """How to train.

    Attributes:
        episodes: Hosts to train, one after the other.
        max_epochs: Inner epochs of an episode.
        seed: Of everything that is drawn.
        device: In PyTorch's form.
        counterfactual: When the alpha=0 baseline is measured: "every", "final" or "off".
        policy: "heuristic", or "wait" for the control, whose slots stay empty.
        slots: Slots the policy may use.
        gamma: Discount, for the rewards that are reckoned; no rule looks at them.
    """

    episodes: int = 2
    max_epochs: int = 75
    seed: int = 1
    device: str = "cpu"
    counterfactual: str = "every"
    policy: str = "heuristic"
    slots: tuple[str, ...] = SLOT_IDS
    gamma: float = 0.995


@dataclass(frozen=True)
class Episode:
    """How an episode ended; accuracies in points, None if the last state was not validated."""

    val_accuracy: float | None
    test_accuracy: float | None
    episode_return: float
    fates: Fates
    seconds: float


@dataclass(frozen=True)
class TrainingResult:
    """What the loop has made: every episode, and the host of the last one."""

    episodes: list[Episode]
    host: GrowingHost

    def mean(self, accuracy: str) -> float | None:
        """Mean of "val_accuracy" or "test_accuracy" over the episodes that have one; None if none has."""
        known = [value for episode in self.episodes if (value := getattr(episode, accuracy)) is not None]
        return fmean(known) if known else None


def train_heuristic(
    task: Task,
    config: HeuristicConfig,
    *,
    telemetry_enabled: bool = True,
    lifecycle_only: bool = False,
    progress: Progress | None = None,
) -> TrainingResult:
    """Train hosts and grow them.

    Args:
        task: What is learned, on the config's device.
        config: How.
        telemetry_enabled: The level is not off.
        lifecycle_only: Seed events flow although it is off.
        progress: Called at the end of every epoch.

    Returns:
        Every episode, and the last host.

    Raises:
        ValueError: If there is nothing to train.
    """
    if config.episodes < 1 or config.max_epochs < 1:
        raise ValueError(f"episodes is {config.episodes} and max_epochs {config.max_epochs}: both must be at least 1")
    policy, trend, episodes = HeuristicPolicy(), TrendTracker(), []
    for number in range(config.episodes):
        get_hub().progress(number, config.episodes, "episode")
        environment = Environment(
            task,
            seed=config.seed,
            episode=number,
            device=config.device,
            counterfactual=config.counterfactual,
        )
        _apply_slot_telemetry(environment, telemetry_enabled, lifecycle_only)
        policy.begin_episode()
        episodes.append(_run_episode(EpisodeState(environment, config), policy, progress))
        _report_batch(environment, episodes[-1], trend)
    get_hub().progress(config.episodes, config.episodes, "episode")
    return TrainingResult(episodes, environment.model)


def _run_episode(state: EpisodeState, policy: HeuristicPolicy, progress: Progress | None) -> Episode:
    """Train one host from its first to its last epoch."""
    environment, hub, started = state.environment, get_hub(), time.perf_counter()
    chosen: Counter[LifecycleOp] = Counter()
    succeeded: Counter[LifecycleOp] = Counter()
    for inner_epoch in range(1, state.config.max_epochs + 1):
        epoch_started = time.perf_counter()
        terminal = inner_epoch == state.config.max_epochs
        environment.begin_epoch(inner_epoch, environment.episode + 1, terminal=terminal)
        with hub.phase("train", **environment.context):
            for images, labels in environment.batches():
                environment.train_step(images, labels)
        with hub.phase("validate", **environment.context):
            environment.validate()
            (packed,) = to_host([environment.measure()])
            state.result = environment.read(packed)
        report_counterfactuals(hub, environment, state.result, terminal=terminal)

        state.guard()
        action = _choose(state, policy)
        success = state.act(action)
        chosen[action.op] += 1
        succeeded[action.op] += success
        _report_action(state, action, success=success)
        report_epoch(hub, environment, state.result, seconds=time.perf_counter() - epoch_started)
        if progress is not None:
            progress(environment, state.result)

    episode = Episode(
        val_accuracy=state.final.val_accuracy,
        test_accuracy=state.final.test_accuracy,
        episode_return=state.episode_return,
        fates=environment.fates,
        seconds=time.perf_counter() - started,
    )
    _report_episode(state, episode, chosen, succeeded)
    return episode


def _choose(state: EpisodeState, policy: HeuristicPolicy) -> FactoredAction:
    """Ask the policy; the control waits, and so does everybody after a rollback."""
    if state.penalty is not None or state.config.policy == "wait":
        return WAIT
    environment, result = state.environment, state.result
    usable = {name: slot for name, slot in environment.slots.items() if name in state.config.slots}
    return policy.decide(
        Observation(
            environment.inner_epoch,
            result.val_loss,
            result.val_accuracy,
            environment.epochs_since_cull,
            usable,
        )
    )


def _report_action(state: EpisodeState, action: FactoredAction, *, success: bool) -> None:
    environment = state.environment
    _emit_last_action(
        environment.env_id,
        environment.inner_epoch,
        action,
        {},  # rules have no masks
        success,
        reward=state.rewards[-1].total,
        **{key: environment.context[key] for key in ("device", "episode", "global_epoch")},
    )


def _report_episode(
    state: EpisodeState, episode: Episode, chosen: Counter[LifecycleOp], succeeded: Counter[LifecycleOp]
) -> None:
    environment, hub = state.environment, get_hub()
    batch_idx = episodes_completed = environment.episode + 1
    report_episode(
        hub,
        environment,
        val_accuracy=episode.val_accuracy,
        test_accuracy=episode.test_accuracy,
        seconds=episode.seconds,
        episode_return=episode.episode_return,
    )
    _emit_action_distribution(
        hub=hub,
        batch_idx=batch_idx,
        episodes_completed=episodes_completed,
        action_counts={op.name: chosen[op] for op in LifecycleOp},
        success_counts={op.name: succeeded[op] for op in LifecycleOp},
    )
    report_throughput(hub, environment, batch_idx=batch_idx, episodes_completed=episodes_completed)
    _emit_reward_summary(
        hub=hub,
        env_id=environment.env_id,
        batch_idx=batch_idx,
        summary=state.reward_summary(),
        steps=len(state.rewards),
        device=environment.device,
        episode=environment.episode,
    )


def _report_batch(environment: Environment, episode: Episode, trend: TrendTracker) -> None:
    """Report the episode as a batch of one, so that both loops' results are read in one place."""
    report_batch(
        get_hub(),
        trend,
        batch_idx=environment.global_epoch,
        episodes_completed=environment.episode + 1,
        accuracies=[episode.val_accuracy],
        mean_return=episode.episode_return,
        seconds=episode.seconds,
    )
