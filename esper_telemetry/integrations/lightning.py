"""Lightning: `Trainer(logger=EsperLogger(run))`.

Facts of version 2.6 that are built in: the logger is opened before the hyperparameters are known, so they are added to
the configuration; `finalize` comes after every fit, validate and test, so it flushes and does not end the run; the
logger is copied and pickled with its trainer. The run ends in the user's `with` block, which sees what `fit` raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry import events
from esper_telemetry.integrations.values import missing, scalar_values

try:
    from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
except ModuleNotFoundError as error:
    raise missing(error, "lightning") from error

if TYPE_CHECKING:
    from argparse import Namespace

    from esper_telemetry import Run


class EsperLogger(Logger):
    """Records what a LightningModule logs.

    Args:
        run: an open run. Every rank may have one of its own; Lightning logs on rank 0.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run
        self._saved: dict[str, Any] = {}

    @property
    @rank_zero_experiment
    def experiment(self) -> Run:
        """The run, for what Lightning has no call for: `self.logger.experiment.emit(...)`."""
        return self._run

    @property
    def name(self) -> str:
        """Name of Lightning's folder for checkpoints."""
        return "esper"

    @property
    def version(self) -> str:
        """The run's id."""
        return self._run.run_id

    @property
    def save_dir(self) -> str | None:
        """The run's folder."""
        return None if self._run.folder is None else str(self._run.folder)

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Record metrics; Lightning has read them from the device already."""
        if getattr(self.experiment, "run_id", None) is not None:
            epoch = metrics.get("epoch")
            place = {} if epoch is None else {"global_epoch": int(epoch)}
            self._run.log(scalar_values({k: v for k, v in metrics.items() if k != "epoch"}), step=step, **place)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Add to the configuration of the run."""
        if getattr(self.experiment, "run_id", None) is not None:
            self._run.update_config(params)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Record checkpoints that are new."""
        best, monitor = checkpoint_callback.best_model_path, checkpoint_callback.monitor
        for path in filter(None, dict.fromkeys([checkpoint_callback.last_model_path, best])):
            score = checkpoint_callback.best_k_models.get(path)
            if self._saved.get(path) != str(score):
                self._saved[path] = str(score)
                value = scalar_values({"metric_value": score}) if score is not None else {}
                self._run.emit(events.CheckpointSaved, path=path, metric=monitor, is_best=path == best, **value)

    def finalize(self, status: str) -> None:
        """Write what was recorded so far to the file; the run goes on."""
        del status
        self._run.flush()
