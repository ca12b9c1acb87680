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
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from esper_telemetry.recorder.background import Companion
from esper_telemetry.recorder.nvml import Nvml
from esper_telemetry.v1.process_pb2 import SystemSampled

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from esper_telemetry.recorder.core import Core

_log = logging.getLogger("esper_telemetry")

# A run that ends does not wait for a driver that hangs.
_PATIENCE_S = 0.2
_Value = TypeVar("_Value")

_PROC = Path("/proc")
_RESIDENT = 1  # column of /proc/PID/statm, in pages
_THREADS = 17  # column of /proc/PID/stat, counted from the one behind the command's name


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


def process_values(proc: Path = _PROC) -> dict[str, int]:
    """Return what SystemSampled reports of this process, by field."""
    me = proc / "self"
    found = {
        "rss_bytes": _known(lambda: _resident_bytes(me)),
        "threads": _known(lambda: int(_columns(me / "stat")[_THREADS])),
        "open_files": _known(lambda: len(os.listdir(me / "fd")) - 1),  # noqa: PTH208 - less the one it is listed with
        **_children(proc),
    }
    return {name: value for name, value in found.items() if value is not None}


def host_values(proc: Path = _PROC) -> dict[str, float]:
    """Return what SystemSampled reports of the machine, by field."""
    memory = _known(lambda: _memory(proc)) or {}
    load = _known(lambda: os.getloadavg()[0])
    return memory if load is None else {**memory, "host_load_1m": load}


def _known(read: Callable[[], _Value]) -> _Value | None:
    try:
        return read()
    except (OSError, ValueError, IndexError, AttributeError):  # AttributeError: a system without getloadavg
        return None


def _resident_bytes(process: Path) -> int:
    return int((process / "statm").read_text().split()[_RESIDENT]) * os.sysconf("SC_PAGE_SIZE")


def _columns(stat: Path) -> list[str]:
    """Return the columns behind the command's name, which may hold spaces and brackets."""
    return stat.read_text(errors="replace").rpartition(")")[2].split()


def _children(proc: Path) -> dict[str, int]:
    """Return the number of children of any thread, and the memory of those that are still there."""
    try:
        lists = [(task / "children").read_text() for task in (proc / "self" / "task").iterdir()]
    except OSError:
        return {}
    pids = " ".join(lists).split()
    sizes = [_known(lambda pid=pid: _resident_bytes(proc / pid)) for pid in pids]  # type: ignore[misc]  # bound now
    return {"children": len(pids), "children_rss_bytes": sum(size for size in sizes if size is not None)}


def _memory(proc: Path) -> dict[str, float]:
    lines = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines() if ":" in line)
    kibibytes = {name: int(lines[name].split()[0]) for name in ("MemTotal", "MemAvailable") if name in lines}
    fields = {"MemTotal": "host_memory_bytes", "MemAvailable": "host_available_bytes"}
    return {fields[name]: 1024 * value for name, value in kibibytes.items()}
