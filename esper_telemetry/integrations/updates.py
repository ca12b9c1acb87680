"""Updates and episodes under the names that Stable-Baselines3 gives their values, as typed events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.integrations.values import scalar_values
from esper_telemetry.v1.rl_pb2 import EpisodeCompleted, OffPolicyUpdateCompleted
from esper_telemetry.v1.training_pb2 import PpoUpdateCompleted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esper_telemetry import Emitter, Run

# Field of the event → names in Stable-Baselines3's logger, below "train/"; A2C and DQN have some of their own.
_ON_POLICY = {
    "policy_loss": ("policy_gradient_loss", "policy_loss"),
    "value_loss": ("value_loss",),
    "kl_divergence": ("approx_kl",),
    "clip_fraction": ("clip_fraction",),
    "explained_variance": ("explained_variance",),
    "lr": ("learning_rate",),
    "loss": ("loss",),
    "clip_range": ("clip_range",),
    "action_std": ("std",),
    "total_updates": ("n_updates",),
}
_OFF_POLICY = {
    "actor_loss": ("actor_loss",),
    "critic_loss": ("critic_loss", "loss"),
    "temperature": ("ent_coef",),
    "temperature_loss": ("ent_coef_loss",),
    "lr": ("learning_rate",),
    "total_updates": ("n_updates",),
}


def emit_update(emitter: Emitter, values: Mapping[str, Any], *, on_policy: bool, **more: Any) -> None:
    """Record an update of a learner.

    Args:
        emitter: with batch_idx bound, which PpoUpdateCompleted requires.
        values: what the library logged, by its own names.
        on_policy: PPO and A2C, or a learner with a replay buffer.
        **more: further fields of the event.
    """
    names = _ON_POLICY if on_policy else _OFF_POLICY
    fields = {
        field: next(values[name] for name in known if name in values)
        for field, known in names.items()
        if any(name in values for name in known)
    }
    if on_policy and "entropy_loss" in values:
        fields["entropy"] = -values["entropy_loss"]
    event = PpoUpdateCompleted if on_policy else OffPolicyUpdateCompleted
    emitter.emit(event, **scalar_values(fields), **more)


def train_values(logged: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a logger holds of the last update, by its names below "train/"; the logger is not changed.

    It is a defaultdict, in which reading a name that is not there would make it.
    """
    return {name.removeprefix("train/"): value for name, value in logged.items() if name.startswith("train/")}


def emit_episode(emitter: Run, info: Mapping[str, Any], *, env_id: int, step: int) -> None:
    """Record an episode that ended.

    Args:
        emitter: the run.
        info: of the last step: "episode" (by `Monitor`), "TimeLimit.truncated" and "is_success" where they are.
        env_id: the environment.
        step: steps of all environments so far.
    """
    ended, cut = info.get("episode", {}), bool(info.get("TimeLimit.truncated", False))
    fields = {"episode_return": ended.get("r"), "length": ended.get("l"), "success": info.get("is_success")}
    ends = {"terminated": not cut, "truncated": cut}
    emitter.emit(EpisodeCompleted, **fields, **ends, env_id=env_id, step=step)
