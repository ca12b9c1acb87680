"""Failures of the background tasks and threads of one process: logged, counted, and listed for as long as they last.

A failure that repeats is logged once, when it is new, and once more when the task works again; each is counted. Any
thread may call.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from esper_telemetry.errors import TelemetryError

if TYPE_CHECKING:
    import logging


class FailureCounter(Protocol):
    """Where failures are counted, by the name of the task."""

    def labels(self, name: str, /) -> _Counted:
        """Return the counter of one task; it exists with 0 from then on."""


class _Counted(Protocol):
    def inc(self) -> None: ...


class FailureGauge(Protocol):
    """Where it is shown which tasks fail now, by the name of the task."""

    def labels(self, name: str, /) -> _Shown:
        """Return the gauge of one task."""


class _Shown(Protocol):
    def set(self, value: float, /) -> None: ...


class TaskFailures:
    """What fails in the background of one process.

    Args:
        log: where failures are logged.
        counter: counts them by the name of the task; None counts nowhere.
        gauge: is 1 for a task while its last turn failed, else 0; None shows nothing.
    """

    def __init__(
        self, log: logging.Logger, counter: FailureCounter | None = None, gauge: FailureGauge | None = None
    ) -> None:
        self._log = log
        self._counter = counter
        self._gauge = gauge
        self._lock = threading.Lock()
        self._failing: dict[str, str] = {}

    def declare(self, name: str) -> None:
        """Show a task with 0 failures."""
        if self._counter is not None:
            self._counter.labels(name)
        if self._gauge is not None:
            self._gauge.labels(name).set(0)

    def failed(self, name: str, error: BaseException) -> None:
        """Record a turn of a task that failed; the task is tried again."""
        text = f"{type(error).__name__}: {error}"
        if self._record(name, text) != text:
            self._log.error("%s failed and is tried again: %s", name, text, exc_info=_trace(error))

    def worked(self, name: str) -> None:
        """Record a turn of a task that went well."""
        with self._lock:
            if self._failing.pop(name, None) is None:
                return
        if self._gauge is not None:
            self._gauge.labels(name).set(0)
        self._log.warning("%s works again", name)

    def happened(self, name: str, error: BaseException) -> None:
        """Record an error of what is not done again, such as one callback of many."""
        if self._counter is not None:
            self._counter.labels(name).inc()
        self._log.error("%s: %s: %s", name, type(error).__name__, error, exc_info=_trace(error))

    def ended(self, name: str, error: BaseException | None) -> None:
        """Record a task that has ended though the process cannot go on without it."""
        self._record(name, f"has ended: {error!r}")
        self._log.critical("%s has ended, so the process ends: %r", name, error, exc_info=error)

    def failing(self) -> dict[str, str]:
        """Return the error of the last turn of each task whose last turn failed, by the name of the task."""
        with self._lock:
            return dict(self._failing)

    def _record(self, name: str, text: str) -> str | None:
        """Count a failure; return the one before it, of the same series."""
        with self._lock:
            before = self._failing.get(name)
            self._failing[name] = text
        if self._counter is not None:
            self._counter.labels(name).inc()
        if self._gauge is not None:
            self._gauge.labels(name).set(1)
        return before


def _trace(error: BaseException) -> BaseException | None:
    """Return the error where its place in the code helps; what the system refused is one line."""
    return None if isinstance(error, OSError | TelemetryError) else error
