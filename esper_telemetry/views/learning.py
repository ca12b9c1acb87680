"""Learning curves: accuracy, loss and return by environment, evaluations, and the control beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.views.axes import BY_BATCH, BY_EPOCH, BY_STEP
from esper_telemetry.views.panel import Panel
from esper_telemetry.views.plots import Plot, Plots, reads_of

if TYPE_CHECKING:
    from esper_telemetry.views.panel import Fold

_PLOTS = (
    Plot("batch.completed", "mean_accuracy", "mean accuracy", "%", order=BY_BATCH, text="Mean over environments."),
    Plot("batch.completed", "rolling_accuracy", "rolling accuracy", "%", order=BY_BATCH, text="Over ten batches."),
    Plot("batch.completed", "mean_return", "mean return", order=BY_BATCH, text="Mean over environments."),
    Plot("rollout.completed", "return_mean", "return of recent episodes", order=BY_STEP),
    Plot("rollout.completed", "length_mean", "length of recent episodes", "{step}", order=BY_STEP),
    Plot("rollout.completed", "success_rate", "success rate", low=0, high=1, order=BY_STEP),
    Plot("eval.completed", "return_mean", "evaluation return", order=BY_STEP),
    Plot("eval.completed", "success_rate", "evaluation success rate", low=0, high=1, order=BY_STEP),
    Plot("eval.completed", "loss", "evaluation loss", order=BY_STEP),
    Plot("epoch.completed", "val_accuracy", "validation accuracy", "%", order=BY_EPOCH),
    Plot("epoch.completed", "val_loss", "validation loss", order=BY_EPOCH),
    Plot("epoch.completed", "train_accuracy", "training accuracy", "%", order=BY_EPOCH),
    Plot("epoch.completed", "train_loss", "training loss", order=BY_EPOCH),
    Plot("epoch.completed", "grad_norm", "gradient norm", low=0, order=BY_EPOCH, text="Mean over the steps."),
)


def _fold() -> Fold:
    return Plots(_PLOTS)


PANEL = Panel(
    "learning",
    "Learning",
    "Whether accuracy and return rise and the losses fall; a line that stops before the others, or a hatched gap.",
    reads_of(_PLOTS),
    _fold,
    level="minimal",
)
