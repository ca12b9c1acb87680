"""TorchRL: `EsperRLLogger(run)` where a trainer or script takes a logger, and `record_td` for what a policy chose.

Facts of version 0.14 that are built in: `get_logger` knows a closed list, so a logger is made by hand; a collector's
tensordict has [environments, time] rows, actions are one-hot or indices, and `action_mask` is at its root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.integrations.values import missing, scalar_values

try:
    from torchrl.record.loggers.common import Logger
except ModuleNotFoundError as error:
    raise missing(error, "torchrl") from error

if TYPE_CHECKING:
    from esper_telemetry import Run
    from esper_telemetry.counters import DeviceCounters


class EsperRLLogger(Logger):
    """Records what a TorchRL trainer or script logs.

    Args:
        run: an open run.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        super().__init__(exp_name=run.run_id, log_dir=str(run.folder or ""))

    def _create_experiment(self) -> Run:
        return self.run

    def log_scalar(self, name: str, value: Any, step: int | None = None, **_: Any) -> None:
        """Record a value; a tensor on a device is refused, as its value would have to be waited for."""
        self.run.log(scalar_values({name: value}), step=step)

    def log_hparams(self, cfg: Any) -> None:
        """Add to the configuration of the run."""
        self.run.update_config(cfg)

    def log_histogram(self, name: str, data: Any, **options: Any) -> None:
        """Record a histogram of values on the host."""
        plain = data.detach().numpy() if hasattr(data, "detach") and data.device.type == "cpu" else data
        self.run.log_histogram(name, plain, step=options.get("step"))

    def log_video(self, name: str, video: Any, step: int | None = None, **_: Any) -> None:
        """Record that there was a video, and its shape: a record holds no pictures."""
        self.run.log_text(name, f"video of shape {tuple(getattr(video, 'shape', ()))}, not stored", step=step)

    def log_str(self, name: str, value: str, step: int | None = None, **_: Any) -> None:
        """Record a text."""
        self.run.log_text(name, value, step=step)

    def __repr__(self) -> str:
        return f"EsperRLLogger({self.run!r})"


def record_td(bank: DeviceCounters, td: Any, *, action: str = "action") -> None:
    """Record the decisions of a collector's tensordict, whatever its batch shape; nothing is read from the device.

    Args:
        bank: counters for the environment's action space.
        td: with `action` (indices, or one-hot of the bank's options) and perhaps `action_mask`; padded rows are those
            where `("collector", "mask")` is False.
        action: key of the actions.
    """
    rows = td.reshape(-1)
    mask = rows.get("action_mask", None)
    flat = None if mask is None else mask.reshape(rows.shape[0], -1)
    bank.record_step(rows[action], flat, valid=rows.get(("collector", "mask"), None))
