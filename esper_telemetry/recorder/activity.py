"""What the program is doing, and how far it is: `with run.phase("rollout"):` and `run.progress(done=..., total=...)`.

Progress is recorded at most once a second; the first report and the last (done = total) always are. What is left out
between two events is no loss, because each contains all that the ones before did.

Phases nest: the names around one are its path, which each thread and each asyncio task has of its own. It times, and
never catches: an exception goes on as it came, and marks the phase failed.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any
from weakref import ref

from esper_telemetry.errors import SchemaError, TelemetryError
from esper_telemetry.recorder.texts import plain_name
from esper_telemetry.schema.guard import plain_value
from esper_telemetry.schema.misfit import as_refusal
from esper_telemetry.v1.process_pb2 import PhaseTimed, RunProgress

if TYPE_CHECKING:
    from types import TracebackType

    from esper_telemetry.recorder.core import Core
    from esper_telemetry.recorder.emitter import Emitter

_MS = 1000.0
_INTERVAL_S = 1.0

# The phases that this thread or task is in, from the outermost. One variable for the process: it is never freed. Weak,
# because a phase may be left without its end (an interrupt while it begins, a generator that is dropped half-way):
# then nothing holds it, and it encloses nothing any more.
_phases: ContextVar[tuple[ref[TimedPhase], ...]] = ContextVar("esper_telemetry_phases", default=())


class TimedPhase:
    """A named part of the work, from `with` to the end of its block. Make a new one for each block.

    Args:
        emitter: has the context.
        name: its own name, without those around it.
    """

    __slots__ = ("__weakref__", "_around", "_emitter", "_name", "_path", "_started")

    def __init__(self, emitter: Emitter, name: str) -> None:
        self._emitter = emitter
        self._name = self._path = name
        self._around: tuple[ref[TimedPhase], ...] = ()
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

    def _enter_within(self, around: tuple[ref[TimedPhase], ...]) -> None:
        alive = [(one, phase) for one in around if (phase := one()) is not None]
        self._around = tuple(one for one, _ in alive)
        if alive:
            self._path = f"{alive[-1][1]._path}/{self._name}"  # noqa: SLF001 - of the same class


class ProgressReports:
    """Reports of one run, by unit."""

    def __init__(self) -> None:
        self._reported: dict[str, tuple[float, float | None, float | None]] = {}  # unit → when, done, total

    def report(self, core: Core, emitter: Emitter, done: Any, total: Any, unit: Any) -> None:
        """Record how far the run is, unless that was recorded within the last second.

        Args:
            core: of the run; it counts what is refused.
            emitter: has the context.
            done: done so far; None: not known.
            total: planned for the whole run; None: not known.
            unit: what is counted.

        Raises:
            SchemaError: only with strict=True, when an argument is no number.
        """
        try:
            counted = plain_name("a unit", unit)
            now, at, end = monotonic(), _number("done", done), _number("total", total)
        except Exception as error:  # noqa: BLE001 - what is no misfit is raised again
            core.reject(RunProgress.DESCRIPTOR.full_name, as_refusal(error))
            return
        before = self._reported.get(counted)
        finished = at is not None and end is not None and at >= end
        if before is None or now - before[0] >= _INTERVAL_S or end != before[2] or (finished and at != before[1]):
            self._reported[counted] = (now, at, end)
            emitter.emit(RunProgress, done=at, total=end, unit=counted)


def _number(name: str, value: Any) -> float | None:
    plain = plain_value(name, value)
    if plain is None:
        return None
    if not isinstance(plain, (int, float)):
        raise SchemaError(f"progress: {name} is a {type(value).__qualname__}; pass a number")
    try:
        return float(plain)
    except OverflowError:
        raise SchemaError(f"progress: {name} is an integer that no double can hold") from None
