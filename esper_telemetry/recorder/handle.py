"""Runs that travel: what of a run is pickled, and what becomes of it where it arrives.

In its own process and in forked ones a run arrives as itself. In a process that descends from the one that started
it, while that one still writes, it is a handle: its first event opens a stream of its own. Anywhere else (the run has
ended, another job or host, a checkpoint that is loaded weeks later) it is a run that is off, and the log states that.
The class of the run is pickled along, so that this file need not know it.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import platform
import sys
import weakref
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esper_telemetry.clock import SYSTEM_CLOCK
from esper_telemetry.recorder.core import Core
from esper_telemetry.schema import EventType, event_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from esper_telemetry.errors import SchemaError
    from esper_telemetry.recorder.runfiles import RunFiles

_log = logging.getLogger("esper_telemetry")

_PROC = Path("/proc")
_MOST_ANCESTORS = 256


@dataclass(frozen=True, slots=True)
class Ticket:
    """What of a run is pickled: enough to open the stream of a child, and to find out whether there may be one.

    Attributes:
        token: identifies the run.
        files: where it writes; None if it keeps its events in memory.
        level: number of the level in force when it was pickled.
        strict: errors of a call are raised.
        schemas: event classes beside the built-in ones, as "module:name".
        owner: process id of the one that started the run.
        machine: where that one runs, as `machine()` returns it.
    """

    token: bytes
    files: RunFiles | None
    level: int
    strict: bool
    schemas: tuple[str, ...]
    owner: int
    machine: str

    def is_valid_here(self) -> bool:
        """Tell whether this process descends from the one that started the run, and that one still writes it."""
        if self.files is None or self.machine != machine() or not descends_from(self.owner):
            return False
        from esper_telemetry.sinks import stream_is_written

        return stream_is_written(self.files.folder, self.files.producer_id)


def ticket_of(core: Core | None) -> Ticket | None:
    """Return what of a run is pickled; None of one that is off."""
    if core is None:
        return None
    core.has_children = True
    return Ticket(
        token=core.token,
        files=core.files,
        level=core.level,
        strict=core.strict,
        schemas=tuple(f"{one.cls.__module__}:{one.cls.__qualname__}" for _, one in core.types()),
        owner=core.owner,
        machine=machine(),
    )


def remember(token: bytes, run: Any) -> None:
    """Let copies of `run` that arrive in this process be the run itself."""
    _runs[token] = weakref.ref(run, partial(_runs.pop, token))  # a callback of C: nothing can interrupt it


def revived_run(run_class: type[Any], ticket: Ticket | None, run_id: str) -> Any:
    """Return what a pickled run of `run_class` is in this process."""
    if ticket is None:
        return run_class(None, run_id, None)
    known = _runs.get(ticket.token)
    run = known() if known is not None else None
    if run is None:
        core = _child_core(ticket)
        run = run_class(core, run_id, core.folder if core is not None else None)
        remember(ticket.token, run)
    return run


def revived_emitter(
    run_class: type[Any], ticket: Ticket | None, context: dict[str, Any], error: SchemaError | None
) -> Any:
    """Return what a pickled emitter is in this process: bound to the same context.

    Args:
        run_class: of its run.
        ticket: of its run.
        context: what it adds to each event.
        error: why its context cannot be used; its events are counted as invalid here as well.
    """
    run_id = ticket.files.run_id if ticket is not None and ticket.files is not None else ""
    emitter = revived_run(run_class, ticket, run_id).bind(**context)
    return emitter if error is None else emitter.spoiled(error)


def _child_core(ticket: Ticket) -> Core | None:
    if ticket.files is None or not ticket.is_valid_here():
        if ticket.token not in _said:
            _said.add(ticket.token)
            _log.warning("%s", _why_off(ticket))
        return None
    return Core(
        ticket.files.options,
        SYSTEM_CLOCK,
        list(_event_types(ticket.schemas)),
        ticket.level,
        strict=ticket.strict,
        files=ticket.files,
        owner=ticket.owner,
    )


def _why_off(ticket: Ticket) -> str:
    name = "a run in memory" if ticket.files is None else f"run {ticket.files.run_id}"
    return (
        f"{name} was unpickled here, but this is no child process of one that is recording it: nothing is recorded by"
        " this copy; start a run here with start_run"
    )


def _event_types(names: Iterable[str]) -> Iterator[EventType]:
    """Yield the event types that can be had here; others are declared when they first appear."""
    for name in names:
        module, _, qualname = name.partition(":")
        try:
            yield event_type(getattr(importlib.import_module(module), qualname))
        except Exception:  # noqa: BLE001, S112 - a stranger's module may raise anything, and is not needed yet
            continue


def machine() -> str:
    """Return what identifies this boot of this machine and this numbering of its processes."""
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


_runs: dict[bytes, weakref.ref[Any]] = {}
_said: set[bytes] = set()
