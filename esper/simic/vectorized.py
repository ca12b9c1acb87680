"""The vectorised loop: PPO over several growing hosts side by side.

Its helpers are the plan's; the heuristic loop uses them too. Those that look the hub up by themselves stand
here, those that are given one in `emitters`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper.simic.emitters import (
    _emit_action_distribution,
    _emit_cf_unavailable,
    _emit_mask_hit_rates,
    _emit_ppo_update_event,
    _emit_reward_summary,
    _emit_throughput,
    _last_action_event,
    _with_env_id,
)
from esper.telemetry import TelemetryEvent, get_hub

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
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


def _apply_slot_telemetry(env_state: Any, telemetry_enabled: bool, lifecycle_only: bool) -> None:
    """Let the slots of one environment report, or put them into fast mode.

    Args:
        env_state: Has `model.seed_slots`, `env_id` and `device`; the latter are read when an event happens.
        telemetry_enabled: The level is not off.
        lifecycle_only: Seed events flow although it is off.
    """

    def report(event: TelemetryEvent) -> None:
        get_hub().emit(_with_env_id(event, env_state.env_id, env_state.device))

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
