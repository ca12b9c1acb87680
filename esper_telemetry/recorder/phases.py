"""`with run.phase("rollout"):` times a part of the program's work as a PhaseTimed.

Phases nest: the names around one are its path, which each thread and each asyncio task has of its own. It times, and
never catches: an exception goes on as it came, and marks the phase failed.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING
from weakref import ref

from esper_telemetry.errors import TelemetryError
from esper_telemetry.v1.process_pb2 import PhaseTimed

if TYPE_CHECKING:
    from types import TracebackType

    from esper_telemetry.recorder.emitter import Emitter

_MS = 1000.0

# The phases that this thread or task is in, from the outermost. One variable for the process: it is never freed. Weak,
# because a phase may be left without its end (an interrupt while it begins, a generator that nobody goes on with):
# then nobody holds it, and it is around nothing any more.
_phases: ContextVar[tuple[ref[Phase], ...]] = ContextVar("esper_telemetry_phases", default=())


class Phase:
    """A named part of the work, from `with` to the end of its block. Make a new one for each block.

    Args:
        emitter: has the context.
        name: its own name, without those around it.
    """

    __slots__ = ("__weakref__", "_around", "_emitter", "_name", "_path", "_started")

    def __init__(self, emitter: Emitter, name: str) -> None:
        self._emitter = emitter
        self._name = self._path = name
        self._around: tuple[ref[Phase], ...] = ()
        self._started = 0.0

    def __enter__(self) -> None:
        around = _phases.get()
        if around:
            self._enter_within(around)
        self._started = perf_counter()
        _phases.set((*self._around, ref(self)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _phases.set(self._around)  # not `reset`: a generator may be closed in another task than it was entered in
        duration = perf_counter() - self._started
        # Under on_error="raise" a sink that failed is raised, but not in place of the exception that is under way.
        with contextlib.suppress(TelemetryError) if kind is not None else contextlib.nullcontext():
            self._emitter.emit(PhaseTimed, phase=self._path, duration_ms=duration * _MS, failed=kind is not None)

    def _enter_within(self, around: tuple[ref[Phase], ...]) -> None:
        alive = [(one, phase) for one in around if (phase := one()) is not None]
        self._around = tuple(one for one, _ in alive)
        if alive:
            self._path = f"{alive[-1][1]._path}/{self._name}"  # noqa: SLF001 - of the same class
