"""`with run.phase("rollout"):` times a part of the program's work as a PhaseTimed.

Phases nest: the names around one are its path, which each thread and each asyncio task has of its own. It times, and
never catches: an exception goes on as it came, and marks the phase failed.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING

from esper_telemetry.errors import TelemetryError
from esper_telemetry.v1.process_pb2 import PhaseTimed

if TYPE_CHECKING:
    from types import TracebackType

    from esper_telemetry.recorder.emitter import Emitter

_MS = 1000.0

# The phase that this thread or task is in. One for the process: a context variable is never freed.
_path: ContextVar[str] = ContextVar("esper_telemetry_phase", default="")


class Phase:
    """A named part of the work, from `with` to the end of its block. Make a new one for each block.

    Args:
        emitter: has the context.
        name: its own name, without those around it.
    """

    __slots__ = ("_around", "_emitter", "_name", "_started")

    def __init__(self, emitter: Emitter, name: str) -> None:
        self._emitter = emitter
        self._name = name
        self._around = ""
        self._started = 0.0

    def __enter__(self) -> None:
        self._around = around = _path.get()
        self._started = perf_counter()
        _path.set(f"{around}/{self._name}" if around else self._name)  # last: a signal may raise after any call

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        around = self._around
        _path.set(around)  # not `reset`: a generator may be closed in another task than it was entered in
        duration = perf_counter() - self._started
        path = f"{around}/{self._name}" if around else self._name
        # Under on_error="raise" a sink that failed is raised, but not in place of the exception that is under way.
        with contextlib.suppress(TelemetryError) if kind is not None else contextlib.nullcontext():
            self._emitter.emit(PhaseTimed, phase=path, duration_ms=duration * _MS, failed=kind is not None)
