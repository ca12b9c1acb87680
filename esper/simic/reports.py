"""What both loops report besides the hops of seeds, thin over the schema.

First one function per event, under the plan's names: it names the fields and hands them to the hub. Below, what
is reported of an environment, built from those. Nothing here measures, decides or keeps anything; None means not
measured, and stays unset. Further keywords are context (device, inner_epoch, global_epoch, ...) or further fields.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from esper.kasmina.host import SLOT_IDS
from esper.simic.actions import HEADS
from esper.telemetry import TelemetryEvent, TelemetryEventType

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from torch.optim import Optimizer

    from esper.simic.anomalies import TrendTracker
    from esper.simic.environment import Environment, EpochResult
    from esper.telemetry import Hub

MS = 1000.0


def _with_env_id(event: TelemetryEvent, env_idx: int, device: object) -> TelemetryEvent:
    """Return `event` with its environment and device; the event given stays as it is."""
    return TelemetryEvent(event.event_type, {**event.data, "env_id": env_idx, "device": str(device)})


def _last_action_event(
    *,
    env_id: int,
    epoch: int,
    factored_action: Any,
    masked: Mapping[str, bool],
    success: bool,
    forced: Mapping[str, bool] | None = None,
    **more: Any,
) -> TelemetryEvent:
    """Build the event of one environment's action; a policy without masks passes none, and they stay unset."""
    data: dict[str, Any] = {
        "env_id": env_id,
        "inner_epoch": epoch,
        "op": factored_action.op.name,
        "slot_id": factored_action.slot_id,
        "blueprint_id": factored_action.blueprint_id,
        "blend_id": factored_action.blend_id,
        "action_success": success,
    }
    for head in HEADS:
        data[f"{head}_masked"] = masked.get(head)
        data[f"{head}_forced"] = (forced or {}).get(head)
    return TelemetryEvent(TelemetryEventType.ACTION_TAKEN, {**data, **more})


def _emit_ppo_update_event(
    *,
    hub: Hub,
    metrics: Mapping[str, Any],
    episodes_completed: int,
    batch_idx: int,
    epoch: int,
    optimizer: Optimizer,
    grad_norm: float | None,
    update_time_ms: float | None,
    **more: Any,
) -> None:
    """Report an update, or that it was skipped.

    Args:
        hub: Where it goes.
        metrics: Further fields of PpoUpdateCompleted that were measured.
        episodes_completed: Episodes finished so far.
        batch_idx: The batch that was learned from.
        epoch: Last inner epoch of its episodes.
        optimizer: Its first parameter group has the learning rate.
        grad_norm: Norm before clipping; None if no step was made.
        update_time_ms: Wall time; None if no update was made.
        more: Further fields or context.
    """
    data = {
        **metrics,
        "lr": optimizer.param_groups[0]["lr"],
        "grad_norm": grad_norm,
        "update_time_ms": update_time_ms,
        "batch_idx": batch_idx,
        "episodes_completed": episodes_completed,
        "inner_epoch": epoch,
        **more,
    }
    hub.emit(TelemetryEvent(TelemetryEventType.PPO_UPDATE_COMPLETED, data))


def _emit_action_distribution(
    *,
    hub: Hub,
    batch_idx: int,
    episodes_completed: int,
    action_counts: Mapping[str, int],
    success_counts: Mapping[str, int],
    head: str = "op",
    **more: Any,
) -> None:
    """Report how often each option of the deciding head was chosen over a batch, and took effect."""
    data = {
        "batch_idx": batch_idx,
        "episodes_completed": episodes_completed,
        "action_counts": action_counts,
        "success_counts": success_counts,
        "head": head,
        **more,
    }
    hub.emit(TelemetryEvent(TelemetryEventType.ACTION_DISTRIBUTION, data))


def _emit_mask_hit_rates(
    *,
    hub: Hub,
    batch_idx: int,
    episodes_completed: int,
    mask_hits: Mapping[str, int],
    mask_total: Mapping[str, int],
    **more: Any,
) -> None:
    """Report what the masks did to each head over a batch."""
    data = {
        "batch_idx": batch_idx,
        "episodes_completed": episodes_completed,
        "mask_hits": mask_hits,
        "mask_total": mask_total,
        **more,
    }
    hub.emit(TelemetryEvent(TelemetryEventType.MASK_HIT_RATES, data))


def _emit_cf_unavailable(hub: Hub, env_id: int, slot_id: str, reason: str, **more: Any) -> None:
    """Report that a counterfactual could not be measured, and why (a label of UnavailableReason)."""
    data = {"env_id": env_id, "slot_id": slot_id, "available": False, "reason": reason, **more}
    hub.emit(TelemetryEvent(TelemetryEventType.COUNTERFACTUAL_COMPUTED, data))


def _emit_throughput(
    *,
    hub: Hub,
    env_id: int,
    batch_idx: int,
    episodes_completed: int,
    step_time_ms: float | None,
    dataloader_wait_ms: float | None,
    **more: Any,
) -> None:
    """Report the speed of one environment over a batch; the times are means, measured around its steps."""
    data = {
        "env_id": env_id,
        "batch_idx": batch_idx,
        "episodes_completed": episodes_completed,
        "step_time_ms": step_time_ms,
        "dataloader_wait_ms": dataloader_wait_ms,
        **more,
    }
    hub.emit(TelemetryEvent(TelemetryEventType.THROUGHPUT, data))


def _emit_reward_summary(*, hub: Hub, env_id: int, batch_idx: int, summary: Mapping[str, float], **more: Any) -> None:
    """Report the reward of one environment over a batch: the sum of each component."""
    data = {"env_id": env_id, "batch_idx": batch_idx, "summary": summary, **more}
    hub.emit(TelemetryEvent(TelemetryEventType.REWARD_SUMMARY, data))


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
    """Report how an episode ended, and the host it trained: its accuracies, its seeds by fate.

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
        "seeds_germinated": fates.germinated,
        "seeds_fossilized": fates.fossilized,
        "seeds_culled": fates.culled,
        "rollbacks": fates.rollbacks,
        "host_params": environment.model.host_params(),
        "seed_params": environment.model.seed_params(),
    }
    hub.emit(TelemetryEvent(TelemetryEventType.HOST_COMPLETED, data))
    ended = {"episode_return": episode_return, "length": environment.inner_epoch, "duration_s": seconds}
    hub.emit(TelemetryEvent(TelemetryEventType.EPISODE_COMPLETED, {**environment.context, **ended}))


def report_checkpoint(hub: Hub, kind: TelemetryEventType, path: str | Path, *, seconds: float, batch_idx: int) -> None:
    """Report that a checkpoint was written or read, with the size and the hash of its file.

    Args:
        hub: Where it goes.
        kind: CHECKPOINT_SAVED or CHECKPOINT_LOADED.
        path: The file.
        seconds: Wall time it took.
        batch_idx: Batches that it has behind it.
    """
    if not hub.wants(kind):
        return
    name = "save_time_ms" if kind is TelemetryEventType.CHECKPOINT_SAVED else "load_time_ms"
    data = {"path": str(path), name: MS * seconds, "batch_idx": batch_idx, "global_epoch": batch_idx}
    try:
        with Path(path).open("rb") as file:
            data["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
            data["size_bytes"] = file.tell()
    except OSError:  # it was taken away: neither was measured
        pass
    hub.emit(TelemetryEvent(kind, data))


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
