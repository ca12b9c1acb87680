"""What the operating system says of this process and its machine; what it does not say is absent.

Most of it is read from /proc, which Linux alone has. Reads are of a few files of the kernel, some 0.1 ms together; no
program is started and no package needed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Value = TypeVar("_Value")

_PROC = Path("/proc")
_RESIDENT = 1  # column of /proc/PID/statm, in pages
_THREADS = 17  # column of /proc/PID/stat, counted from the one behind the command's name


def process_values(proc: Path = _PROC) -> dict[str, int]:
    """Return what SystemSampled says of this process, by field."""
    me = proc / "self"
    found = {
        "rss_bytes": _known(lambda: _resident_bytes(me)),
        "threads": _known(lambda: int(_columns(me / "stat")[_THREADS])),
        "open_files": _known(lambda: len(os.listdir(me / "fd")) - 1),  # noqa: PTH208 - less the one it is listed with
        **_children(proc),
    }
    return {name: value for name, value in found.items() if value is not None}


def host_values(proc: Path = _PROC) -> dict[str, float]:
    """Return what SystemSampled says of the machine, by field."""
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
