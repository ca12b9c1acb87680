"""Updates of off-policy learners (DQN, DDPG, TD3, SAC)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.views.axes import BY_STEP
from esper_telemetry.views.panel import Panel
from esper_telemetry.views.plots import Plot, Plots, reads_of

if TYPE_CHECKING:
    from esper_telemetry.views.panel import Fold

UPDATE = "off_policy.update_completed"


def _plot(field: str, title: str, unit: str = "1", low: float | None = None, text: str = "") -> Plot:
    return Plot(UPDATE, field, title, unit, low, text=text, order=BY_STEP)


_PLOTS = (
    _plot("critic_loss", "critic loss", low=0),
    _plot("actor_loss", "actor loss"),
    _plot("td_error", "TD error", low=0, text="Mean absolute temporal-difference error."),
    _plot("q_mean", "mean Q", text="Of the actions in the samples; should follow its target."),
    _plot("q_target_mean", "mean Q target"),
    _plot("entropy", "entropy", "nat"),
    _plot("temperature", "temperature", low=0),
    _plot("temperature_loss", "temperature loss"),
    _plot("exploration_rate", "exploration rate", low=0, text="Probability of a random action."),
    _plot("grad_norm", "gradient norm", low=0),
    _plot("lr", "learning rate", low=0),
    _plot("buffer_size", "replay buffer", "{transition}", 0),
    _plot("update_time_ms", "update time", "ms", 0),
)


def _fold() -> Fold:
    return Plots(_PLOTS)


PANEL = Panel(
    "offpolicy",
    "Off-policy updates",
    "Whether the Q values follow their targets, and the TD error stays bounded.",
    reads_of(_PLOTS),
    _fold,
)
