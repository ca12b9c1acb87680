"""CleanRL and other single-file scripts: a look-alike of TensorBoard's `SummaryWriter`, so one import line changes.

    from esper_telemetry.integrations.cleanrl import SummaryWriter  # instead of torch.utils.tensorboard

    writer = SummaryWriter(f"runs/{run_name}")

The record goes to `runs/<run_name>`. A run that the script does not close ends with the process, and states how.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from esper_telemetry import Run, start_run
from esper_telemetry.integrations.values import scalar_values


class SummaryWriter:
    """Records what a script logs; the arguments are those of `torch.utils.tensorboard.SummaryWriter`.

    Args:
        log_dir: folder of the record; its last part names the run.
        run: record into this open run instead, which then is its owner's to close.
        **options: further options of `start_run`; those of TensorBoard (`comment`, `purge_step`, ...) have no meaning.
    """

    def __init__(self, log_dir: str = "runs/run", *_: Any, run: Run | None = None, **options: Any) -> None:
        ignored = ("comment", "purge_step", "max_queue", "flush_secs", "filename_suffix")
        kept = {name: value for name, value in options.items() if name not in ignored}
        place = Path(log_dir)
        self._owned = run is None
        self.run = run or start_run(place.parent, name=place.name, **kept)
        self.log_dir = str(self.run.folder or log_dir)

    def add_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None, *_: Any, **__: Any) -> None:
        """Record one value; a tensor on a device is refused, as its value would have to be waited for."""
        self.run.log(scalar_values({tag: scalar_value}), step=None if global_step is None else int(global_step))

    def add_scalars(self, main_tag: str, values: dict[str, Any], global_step: int | None = None, *_: Any) -> None:
        """Record several values below one name."""
        step = None if global_step is None else int(global_step)
        self.run.log({main_tag: scalar_values(values)}, step=step)

    def add_text(self, tag: str, text_string: str, global_step: int | None = None, *_: Any) -> None:
        """Record a text; CleanRL's table of hyperparameters becomes the configuration of the run."""
        rows = [line.strip("|").split("|", 1) for line in str(text_string).splitlines() if line.startswith("|")]
        if tag == "hyperparameters" and rows:
            self.run.update_config({row[0]: row[-1] for row in rows if row[0] not in ("param", "-")})
        else:
            self.run.log_text(tag, str(text_string), step=global_step)

    def add_histogram(self, tag: str, values: Any, global_step: int | None = None, *_: Any, **__: Any) -> None:
        """Record a histogram of values on the host."""
        on_host = getattr(getattr(values, "device", None), "type", "cpu") == "cpu"
        plain = values.detach().numpy() if on_host and hasattr(values, "detach") else values
        self.run.log_histogram(tag, plain, step=global_step)

    def add_hparams(self, hparam_dict: dict[str, Any], metric_dict: dict[str, Any], *_: Any, **__: Any) -> None:
        """Add to the configuration of the run, and to its results."""
        self.run.update_config(hparam_dict)
        self.run.results.update(scalar_values(metric_dict))

    def flush(self) -> None:
        """Write what was recorded so far to the file."""
        self.run.flush()

    def close(self) -> None:
        """End the run, if this writer opened it."""
        if self._owned:
            self.run.close()
