"""The heuristic loop: one host after the other, grown by rules of thumb.

It reads from the device once an epoch, in `measure().cpu()`. What it reports changes nothing it does.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from esper.simic.actions import LifecycleOp, execute
from esper.simic.environment import Environment, EpochResult, Fates
from esper.simic.heuristic import Decision, HeuristicPolicy, NoGrowthPolicy, Observation
from esper.simic.reports import report_counterfactuals, report_episode, report_epoch, report_throughput
from esper.simic.vectorized import _apply_slot_telemetry, _emit_action_distribution, _emit_last_action
from esper.telemetry import TelemetryEvent, TelemetryEventType, get_hub

if TYPE_CHECKING:
    from esper.kasmina.host import GrowingHost
    from esper.tasks import Task

ROLLING_EPISODES = 10

Progress = Callable[[Environment, EpochResult], None]


@dataclass(frozen=True)
class HeuristicConfig:
    """How to train.

    Attributes:
        episodes: Hosts to train, one after the other.
        max_epochs: Inner epochs of an episode; None for the task's own number.
        seed: Of everything that is drawn.
        device: In PyTorch's form.
        counterfactual: When the alpha=0 baseline is measured: "every", "final" or "off".
        growth: False trains the control, whose slots stay empty.
    """

    episodes: int = 2
    max_epochs: int | None = None
    seed: int = 1
    device: str = "cpu"
    counterfactual: str = "every"
    growth: bool = True


@dataclass(frozen=True)
class Episode:
    """How an episode ended; accuracies in points, None if the last state was not validated."""

    val_accuracy: float | None
    test_accuracy: float | None
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


@dataclass
class _Tally:
    """Operations of an episode, all of them from 0."""

    chosen: Counter[str] = field(default_factory=lambda: Counter({op.name: 0 for op in LifecycleOp}))
    succeeded: Counter[str] = field(default_factory=lambda: Counter({op.name: 0 for op in LifecycleOp}))

    def count(self, decision: Decision, *, success: bool) -> None:
        self.chosen[decision.op.name] += 1
        self.succeeded[decision.op.name] += success


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
    if config.episodes < 1:
        raise ValueError(f"episodes is {config.episodes}: it must be at least 1")
    policy = HeuristicPolicy() if config.growth else NoGrowthPolicy()
    recent: deque[float] = deque(maxlen=ROLLING_EPISODES)
    episodes = []
    for number in range(config.episodes):
        environment = Environment(
            task,
            seed=config.seed,
            episode=number,
            device=config.device,
            counterfactual=config.counterfactual,
        )
        _apply_slot_telemetry(environment, telemetry_enabled, lifecycle_only)
        episode = _run_episode(environment, policy, config.max_epochs or task.max_epochs, progress)
        _report_batch(environment, episode, recent)
        episodes.append(episode)
    return TrainingResult(episodes, environment.model)


def _run_episode(
    environment: Environment,
    policy: HeuristicPolicy | NoGrowthPolicy,
    max_epochs: int,
    progress: Progress | None,
) -> Episode:
    """Train one host from its first to its last epoch."""
    hub, started, tally = get_hub(), time.perf_counter(), _Tally()
    policy.begin_episode()
    for inner_epoch in range(1, max_epochs + 1):
        epoch_started = time.perf_counter()
        terminal = inner_epoch == max_epochs
        environment.begin_epoch(inner_epoch, environment.episode + 1, terminal=terminal)
        for images, labels in environment.batches():
            environment.train_step(images, labels)
        environment.validate()
        result = environment.read(environment.measure().cpu())
        report_counterfactuals(hub, environment, result, terminal=terminal)

        rolled_back = environment.must_roll_back(result)
        if rolled_back:
            environment.roll_back()
        else:
            _decide(environment, policy, result, tally)
        environment.end_epoch()
        report_epoch(hub, environment, result, seconds=time.perf_counter() - epoch_started)
        if progress is not None:
            progress(environment, result)

    # After a rollback the state is another than the one that was validated.
    episode = Episode(
        val_accuracy=None if rolled_back else result.val_accuracy,
        test_accuracy=None if rolled_back else result.test_accuracy,
        fates=environment.fates,
        seconds=time.perf_counter() - started,
    )
    _report_episode(environment, episode, tally)
    return episode


def _decide(
    environment: Environment,
    policy: HeuristicPolicy | NoGrowthPolicy,
    result: EpochResult,
    tally: _Tally,
) -> None:
    """Ask the policy, do what it says, and report it."""
    observation = Observation(
        environment.inner_epoch,
        result.val_loss,
        result.val_accuracy,
        environment.epochs_since_cull,
        environment.slots,
    )
    decision = policy.decide(observation)
    success = execute(decision, environment, decision.reason)
    tally.count(decision, success=success)
    _emit_last_action(
        environment.env_id,
        environment.inner_epoch,
        decision,
        {},  # it has no masks
        success,
        device=environment.device,
        global_epoch=environment.global_epoch,
        episode=environment.episode,
    )


def _report_episode(environment: Environment, episode: Episode, tally: _Tally) -> None:
    hub, batch_idx = get_hub(), environment.global_epoch
    report_episode(
        hub,
        environment,
        val_accuracy=episode.val_accuracy,
        test_accuracy=episode.test_accuracy,
        seconds=episode.seconds,
    )
    _emit_action_distribution(
        hub=hub,
        batch_idx=batch_idx,
        episodes_completed=environment.episode + 1,
        action_counts=dict(tally.chosen),
        success_counts=dict(tally.succeeded),
    )
    report_throughput(hub, environment, batch_idx=batch_idx, episodes_completed=environment.episode + 1)


def _report_batch(environment: Environment, episode: Episode, recent: deque[float]) -> None:
    """Report the episode as a batch of one, so that both loops' results are read in one place."""
    data: dict[str, object] = {
        "batch_idx": environment.global_epoch,
        "global_epoch": environment.global_epoch,
        "episodes_completed": environment.episode + 1,
        "batch_time_ms": 1000.0 * episode.seconds,
    }
    if episode.val_accuracy is not None:
        recent.append(episode.val_accuracy)
        data["mean_accuracy"] = episode.val_accuracy
        data["env_accuracies"] = [episode.val_accuracy]
    data["rolling_accuracy"] = fmean(recent) if recent else None
    get_hub().emit(TelemetryEvent(TelemetryEventType.BATCH_COMPLETED, data))
