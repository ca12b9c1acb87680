"""The system sampler: what the process takes of its machine, every so many seconds, from a thread of its own.

Off unless RecordOptions.system_interval asks for it. The operating system is asked through /proc, devices through NVML,
and those only once the program itself uses CUDA: the sampler never calls the CUDA runtime, never imports torch and
never asks it for more than a flag. A value that cannot be had is absent.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from esper_telemetry.recorder.companion import Companion
from esper_telemetry.recorder.nvml import Nvml
from esper_telemetry.recorder.procfs import host_values, process_values
from esper_telemetry.v1.process_pb2 import SystemSampled

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from esper_telemetry.recorder.core import Core

_log = logging.getLogger("esper_telemetry")

# A run that ends does not wait for a driver that hangs.
_PATIENCE_S = 0.2


def start_sampler(core: Core, interval: float) -> None:
    """Start the sampler of a run; it ends with the run. The first sample comes after one interval."""
    sampler = SystemSampler(lambda sample: core.background.emit("samples", SystemSampled(**sample)), interval)
    core.background.accompany(Companion("system sampler", sampler.work, patience=_PATIENCE_S))


class SystemSampler:
    """Samples the system.

    Args:
        record: takes the fields of a SystemSampled, as a dict.
        interval: seconds between two samples.
    """

    def __init__(self, record: Callable[[dict[str, Any]], None], interval: float) -> None:
        self._record = record
        self._interval = interval
        self._nvml: Nvml | None = None
        self._looked = False
        self._before = (time.monotonic(), time.process_time())

    def work(self, stopping: threading.Event) -> None:
        """Sample until `stopping` is set."""
        try:
            while not stopping.wait(self._interval):
                self._record(self.sample())
        finally:
            if self._nvml is not None:
                self._nvml.close()

    def sample(self) -> dict[str, Any]:
        """Return the fields of a SystemSampled."""
        return {"cpu_percent": self._cpu_percent(), **process_values(), **host_values(), **self._accelerators()}

    def _cpu_percent(self) -> float | None:
        (then, used_then), (now, used) = self._before, (time.monotonic(), time.process_time())
        self._before = (now, used)
        return 100.0 * (used - used_then) / (now - then) if now > then else None

    def _accelerators(self) -> dict[str, Any]:
        if not self._looked and cuda_in_use():
            self._looked = True
            try:
                self._nvml = Nvml(os.environ.get("CUDA_VISIBLE_DEVICES"))
            except OSError as error:
                _log.info("devices are not sampled: %s", error)
        return {"accelerators": self._nvml.samples()} if self._nvml is not None else {}


def cuda_in_use() -> bool:
    """Tell whether torch has initialised CUDA in this process; a flag of torch's is read, nothing called in CUDA."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    asked = getattr(cuda, "is_initialized", None)
    return bool(asked is not None and asked())
