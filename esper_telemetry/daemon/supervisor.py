"""Tasks that run as long as their process: none of them ends unseen.

A duty is done again and again; a turn that fails is logged and counted, and the next turn comes all the same. A task
that cannot begin anew ends its process instead: it drains, and whatever restarts services starts it again. Which of
the two holds is decided here, once, by the method that starts the task.
"""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from esper_telemetry.errors import SinkError

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

_AGAIN_S = 0.2
_PATIENCE_S = 30.0


class FailureCounter(Protocol):
    """Where failures are counted, by the name of the task."""

    def labels(self, name: str, /) -> _Counted:
        """Return the counter of one task; it exists with 0 from then on."""


class _Counted(Protocol):
    def inc(self) -> None: ...


class TurnClock(Protocol):
    """Where the time of a duty's last turn is shown, by the name of the task."""

    def labels(self, name: str, /) -> _Timed:
        """Return the clock of one task."""


class _Timed(Protocol):
    def set(self, value: float, /) -> None: ...


class Supervisor:
    """Owner of the tasks of one process.

    Args:
        log: where failures are logged: one line when an error is new, one when a duty works again.
        failures: counts failed turns and ended tasks by name.
        on_death: called with a sentence when a task has ended that must not.
        turns: shows when each duty was last done.

    Attributes:
        failing: duty → the error of its last turn, for those whose last turn failed.
    """

    def __init__(
        self,
        log: logging.Logger,
        failures: FailureCounter,
        on_death: Callable[[str], None],
        turns: TurnClock | None = None,
    ) -> None:
        self._log = log
        self._failures = failures
        self._on_death = on_death
        self._turns = turns
        self._due: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.failing: dict[str, str] = {}

    def every(self, seconds: float, name: str, turn: Callable[[], Awaitable[None]]) -> None:
        """Do a duty every `seconds`; a turn that raises is logged and counted, and changes nothing for the next."""
        self._failures.labels(name)
        self._turned(name, seconds)
        self._keep(name, self._repeat(seconds, name, turn))

    def keep(self, name: str, work: Coroutine[object, object, None]) -> None:
        """Run `work`, which must not end before `end`: if it does, the process cannot go on."""
        self._failures.labels(name)
        self._keep(name, work)

    def overdue(self) -> list[str]:
        """Return the duties whose turn should have ended 30 s ago and has not. Any thread may ask.

        A turn that fails is a turn: what hangs is a disk that does not answer, or the event loop itself.
        """
        now = time.monotonic()
        return sorted(name for name, due in self._due.items() if now > due + _PATIENCE_S)

    async def end(self) -> None:
        """End all tasks."""
        self._due.clear()  # what ends is not overdue
        tasks, self._tasks = self._tasks, []
        await end_tasks(tasks)

    def _keep(self, name: str, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    async def _repeat(self, seconds: float, name: str, turn: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await turn()
            except Exception as error:  # noqa: BLE001 - whatever a turn met must not end the duty
                self._note(name, error)
            else:
                if self.failing.pop(name, None):
                    self._log.warning("%s works again", name)
            self._turned(name, seconds)

    def _turned(self, name: str, seconds: float) -> None:
        self._due[name] = time.monotonic() + seconds
        if self._turns is not None:
            self._turns.labels(name).set(time.time())

    def _note(self, name: str, error: Exception) -> None:
        self._failures.labels(name).inc()
        text = f"{type(error).__name__}: {error}"
        if self.failing.get(name) != text:
            trace = None if isinstance(error, OSError) else error  # what the system refused is one line
            self._log.error("%s failed and is tried again: %s", name, text, exc_info=trace)
        self.failing[name] = text

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        name, error = task.get_name(), task.exception()
        self._failures.labels(name).inc()
        self._log.critical("%s has ended, so the process ends: %r", name, error, exc_info=error)
        self._on_death(f"{name} has ended: {error!r}")


class Service(Protocol):
    """What `run_until_signal` runs."""

    ended: asyncio.Event
    failure: str

    async def start(self) -> None:
        """Start; what it had begun is undone where it raises or is cancelled."""

    async def stop(self) -> None:
        """Finish what was taken, and end."""


_Service = TypeVar("_Service", bound=Service)


async def run_until_signal(service: _Service, on_ready: Callable[[_Service], None], log: logging.Logger) -> None:
    """Run a service until SIGTERM or SIGINT, or until it cannot go on. A signal also ends a start that waits.

    Args:
        service: what to run.
        on_ready: called once it has started.
        log: where the reason of its end is logged.

    Raises:
        TelemetryError: as its `start` raises.
        SinkError: a part of it ended that must not.
    """
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    if not await unless_asked(asked, service.start()):
        log.info("asked to stop before the start was over")
        return
    on_ready(service)
    await unless_asked(asked, service.ended.wait())
    log.info("%s", service.failure or "asked to stop")
    await service.stop()
    if service.failure:
        raise SinkError(service.failure)


async def unless_asked(asked: asyncio.Event, work: Coroutine[object, object, object]) -> bool:
    """Run `work` to its end, or cancel it when a stop is asked for meanwhile. Return whether it ended.

    Raises:
        Exception: what the work raised.
    """
    doing: asyncio.Task[object] = asyncio.create_task(work)
    waiting = asyncio.create_task(asked.wait())
    try:
        await asyncio.wait({doing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
            return True
        return False
    finally:
        await end_tasks([task for task in (doing, waiting) if not task.done()])


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended.

    Once is not enough: before Python 3.12 `asyncio.wait_for` forgets a cancellation that comes together with its result
    (cpython issue 86296), and the client library of the log waits with it in every call.
    """
    left, asked = set(tasks), None
    while left:
        for task in left:
            task.cancel()
        try:
            _, left = await asyncio.wait(left, timeout=_AGAIN_S)
        except asyncio.CancelledError as error:  # who ends us in the same way must not leave them behind
            asked, left = error, {task for task in left if not task.done()}
    if asked is not None:
        raise asked
