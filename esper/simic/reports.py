"""What both loops report of an environment: its epochs, its counterfactuals, its episode, its speed.

Thin over `emitters`; it measures nothing. A value that is None was not measured and stays unset.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from esper.kasmina.host import SLOT_IDS
from esper.simic.emitters import _emit_cf_unavailable, _emit_throughput
from esper.telemetry import TelemetryEvent, TelemetryEventType

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from esper.simic.anomalies import TrendTracker
    from esper.simic.environment import Environment, EpochResult
    from esper.telemetry import Hub

MS = 1000.0


def report_epoch(hub: Hub, environment: Environment, result: EpochResult, *, seconds: float | None) -> None:
    """Report what an epoch measured.

    Args:
        hub: Where it goes.
        environment: Whose epoch it was.
        result: What was measured.
        seconds: Wall time of the epoch; None if it was not timed apart from others'.
    """
    data = {
        **environment.context,
        "train_loss": result.train_loss,
        "train_accuracy": result.train_accuracy,
        "val_loss": result.val_loss,
        "val_accuracy": result.val_accuracy,
        "grad_norm": result.grad_norm,
        "epoch_time_ms": None if seconds is None else MS * seconds,
    }
    hub.emit(TelemetryEvent(TelemetryEventType.EPOCH_COMPLETED, data))


def report_counterfactuals(
    hub: Hub, environment: Environment, result: EpochResult, *, terminal: bool, slots: Collection[str] = SLOT_IDS
) -> None:
    """Report what was measured or is missed; in the terminal epoch every slot of `slots`, whatever happened.

    Missed is the baseline of a seed that is blended in, in an epoch that did not measure (`final`).
    """
    context = environment.context
    for record in (one for one in result.counterfactuals if one.slot_id in slots):
        seed = {"seed_id": record.seed_id} if record.seed_id is not None else {}
        if record.reason is None:
            data = {
                **context,
                **seed,
                "slot_id": record.slot_id,
                "available": True,
                "real_accuracy": record.real_accuracy,
                "baseline_accuracy": record.baseline_accuracy,
                "contribution": record.contribution,
            }
            hub.emit(TelemetryEvent(TelemetryEventType.COUNTERFACTUAL_COMPUTED, data))
        elif terminal or record.reason == "missing_baseline":
            where = {key: value for key, value in context.items() if key != "env_id"}
            _emit_cf_unavailable(hub, environment.env_id, record.slot_id, record.reason, **where, **seed)


def report_episode(
    hub: Hub,
    environment: Environment,
    *,
    val_accuracy: float | None,
    test_accuracy: float | None,
    seconds: float | None,
    episode_return: float | None = None,
) -> None:
    """Report how an episode ended, its seeds by fate among it.

    Args:
        hub: Where it goes.
        environment: Whose episode it was.
        val_accuracy: At the end, in points; None if the last state was not validated.
        test_accuracy: The same on the test set.
        seconds: Wall time of the episode.
        episode_return: Sum of the rewards; None where the policy gets none.
    """
    fates = environment.fates
    data = {
        **environment.context,
        "val_accuracy": val_accuracy,
        "test_accuracy": test_accuracy,
        "episode_return": episode_return,
        "seeds_germinated": fates.germinated,
        "seeds_fossilized": fates.fossilized,
        "seeds_culled": fates.culled,
        "rollbacks": fates.rollbacks,
        "host_params": environment.model.host_params(),
        "seed_params": environment.model.seed_params(),
        "duration_s": seconds,
    }
    hub.emit(TelemetryEvent(TelemetryEventType.EPISODE_COMPLETED, data))


def report_throughput(hub: Hub, environment: Environment, *, batch_idx: int, episodes_completed: int) -> None:
    """Report the speed of an environment over its episode: means over its training steps."""
    timing = environment.timing
    busy = timing.step_seconds + timing.wait_seconds
    _emit_throughput(
        hub=hub,
        env_id=environment.env_id,
        batch_idx=batch_idx,
        episodes_completed=episodes_completed,
        step_time_ms=MS * timing.step_seconds / timing.steps if timing.steps else None,
        dataloader_wait_ms=MS * timing.wait_seconds / timing.steps if timing.steps else None,
        fps=timing.samples / busy if busy else None,
        steps=timing.steps,
        device=environment.device,
    )


def report_batch(
    hub: Hub,
    trend: TrendTracker,
    *,
    batch_idx: int,
    episodes_completed: int,
    accuracies: Sequence[float | None],
    mean_return: float | None,
    seconds: float,
) -> None:
    """Report how a batch of episodes ended, and the trend if it changed.

    Args:
        hub: Where it goes.
        trend: Takes the batch's mean accuracy.
        batch_idx: Number of the batch.
        episodes_completed: Episodes finished with it.
        accuracies: Final validation accuracy of each environment, in points; None if there is none.
        mean_return: Mean over environments; None where the policy gets no reward.
        seconds: Wall time of the batch.
    """
    context = {"batch_idx": batch_idx, "global_epoch": batch_idx, "episodes_completed": episodes_completed}
    known = [accuracy for accuracy in accuracies if accuracy is not None]
    change = trend.add(fmean(known)) if known else None
    data = {
        **context,
        "mean_accuracy": fmean(known) if known else None,
        "mean_return": mean_return,
        "env_accuracies": known if len(known) == len(accuracies) else [],
        "rolling_accuracy": trend.rolling,
        "batch_time_ms": MS * seconds,
    }
    hub.emit(TelemetryEvent(TelemetryEventType.BATCH_COMPLETED, data))
    if change is not None:
        hub.emit(TelemetryEvent(TelemetryEventType.TREND_CHANGED, {**context, **change}))
