"""Which process descends from which, and on which machine: evidence for a run that arrives by pickle.

Ancestors are read from /proc; where there is none, the parent that the system or multiprocessing names is all
that is known.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from pathlib import Path

_PROC = Path("/proc")
_MOST_ANCESTORS = 256


def machine() -> str:
    """Return what tells this boot of this machine, and this numbering of its processes, from every other."""
    facts = [platform.node()]
    with contextlib.suppress(OSError):
        facts.append((_PROC / "sys/kernel/random/boot_id").read_text().strip())
    with contextlib.suppress(OSError):
        facts.append(str((_PROC / "self/ns/pid").readlink()))  # a container counts its processes anew
    return " ".join(facts)


def descends_from(pid: int) -> bool:
    """Tell whether `pid` is this process or one of its ancestors."""
    process = sys.modules.get("multiprocessing.process")
    parent = process.parent_process() if process is not None else None
    return pid in (os.getpid(), os.getppid(), getattr(parent, "pid", None)) or pid in _ancestors(os.getppid())


def _ancestors(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        while pid > 1 and len(found) < _MOST_ANCESTORS:
            found.append(pid)
            # pid (name) state ppid: the name may hold anything, parentheses too
            pid = int((_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    return found
