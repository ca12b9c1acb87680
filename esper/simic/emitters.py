"""What the loops report besides the hops of seeds: one function per event, thin over the schema.

A function here names the fields of its event and hands them to the hub; it measures nothing, decides nothing
and keeps nothing. None means not measured, and stays unset. Further keywords are context (device, inner_epoch,
global_epoch, ...) or further fields of the event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper.simic.actions import HEADS
from esper.telemetry import TelemetryEvent, TelemetryEventType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch.optim import Optimizer

    from esper.telemetry import Hub


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
