"""Hugging Face Trainer: `callbacks=[EsperTrainerCallback(run)]`, or `register(run)` and `report_to="esper"`.

Facts of version 5.24 that are built in: `report_to` looks into a dict of the library and no entry point exists, so
`register` adds to that dict; no hook sees an exception of `train`, so the run ends in the user's `with` block; every
process calls the callback, and only that of rank 0 of the world records.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from esper_telemetry import events
from esper_telemetry.integrations.values import missing, scalar_values

try:
    from transformers import TrainerCallback
    from transformers.integrations import integration_utils
except ModuleNotFoundError as error:
    raise missing(error, "hf") from error

if TYPE_CHECKING:
    from esper_telemetry import Run

_EVAL = "eval_"


class EsperTrainerCallback(TrainerCallback):
    """Records a training.

    Args:
        run: an open run.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Add arguments and model to the configuration."""
        del control
        if state.is_world_process_zero:
            self.run.update_config({"args": args.to_sanitized_dict()})
            if hasattr(model, "config") and hasattr(model.config, "to_dict"):
                self.run.update_config({"model": model.config.to_dict()})

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Record what the trainer logs; what an evaluation logs comes with `on_evaluate`."""
        del args, control
        if state.is_world_process_zero and logs and not any(name.startswith(_EVAL) for name in logs):
            self.run.log(scalar_values(logs), step=state.global_step)
            self.run.progress(done=state.global_step, total=max(state.max_steps, 0) or None)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, Any] | None = None, **_: Any) -> None:
        """Record an evaluation."""
        del args, control
        if state.is_world_process_zero and metrics:
            found = scalar_values({name.removeprefix(_EVAL): value for name, value in metrics.items()})
            seconds = found.pop("runtime", None)
            timed = {} if seconds is None else {"eval_time_ms": 1e3 * seconds}
            loss = {"loss": found.pop("loss")} if "loss" in found else {}
            self.run.emit(events.EvalCompleted, metrics=found, **loss, **timed, step=state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Record a checkpoint."""
        del control
        if state.is_world_process_zero:
            path = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            best = state.best_model_checkpoint is not None and Path(state.best_model_checkpoint) == path
            self.run.emit(events.CheckpointSaved, path=str(path), is_best=best, step=state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write what was recorded so far to the file; the run goes on."""
        del args, state, control
        self.run.flush()


def register(run: Run) -> None:
    """Make `TrainingArguments(report_to="esper")` record into `run`, in this process."""

    class Registered(EsperTrainerCallback):
        def __init__(self) -> None:
            super().__init__(run)

    integration_utils.INTEGRATION_TO_CALLBACK["esper"] = Registered
