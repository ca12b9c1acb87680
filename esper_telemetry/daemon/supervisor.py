"""Tasks that run as long as their process: none of them ends unseen.

A duty is done again and again; a turn that fails is logged and counted, and the next turn comes all the same. A task
that cannot begin anew ends its process instead: it drains, and whatever restarts services starts it again. Which of
the two holds is decided here, once, by the method that starts the task.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from esper_telemetry.errors import SinkError

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator

    from esper_telemetry.daemon.failures import TaskFailures

_AGAIN_S = 0.2
_CALLBACKS = "callbacks"
_PATIENCE_S = 30.0


class TurnClock(Protocol):
    """Where the time of a duty's last turn is shown, by the name of the task."""

    def labels(self, name: str, /) -> _Timed:
        """Return the clock of one task."""


class _Timed(Protocol):
    def set(self, value: float, /) -> None: ...


class Supervisor:
    """Owner of the tasks of one process.

    Args:
        failures: where failed turns and ended tasks are recorded.
        on_death: called with a sentence when a task has ended that must not.
        turns: shows when each duty was last done.
    """

    def __init__(self, failures: TaskFailures, on_death: Callable[[str], None], turns: TurnClock | None = None) -> None:
        self._failures = failures
        self._on_death = on_death
        self._turns = turns
        self._due: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def every(self, seconds: float, name: str, turn: Callable[[], Awaitable[None]]) -> None:
        """Do a duty every `seconds`; a turn that raises is logged and counted, and changes nothing for the next."""
        self._failures.declare(name)
        self._turned(name, seconds)
        self._keep(name, self._repeat(seconds, name, turn))

    def keep(self, name: str, work: Coroutine[object, object, None]) -> None:
        """Run `work`, which must not end before `end`: if it does, the process cannot go on."""
        self._failures.declare(name)
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
                self._failures.failed(name, error)
            else:
                self._failures.worked(name)
            self._turned(name, seconds)

    def _turned(self, name: str, seconds: float) -> None:
        self._due[name] = time.monotonic() + seconds
        if self._turns is not None:
            self._turns.labels(name).set(time.time())

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        name, error = task.get_name(), task.exception()
        self._failures.ended(name, error)
        self._on_death(f"{name} has ended: {error!r}")


class Service(Protocol):
    """What `run_until_signal` runs.

    Attributes:
        ended: set once it cannot go on.
        failure: why it cannot go on; empty if it can.
        failures: where failures in the background are recorded.
    """

    ended: asyncio.Event
    failure: str
    failures: TaskFailures

    def fail(self, why: str) -> None:
        """Take no more work, and have the process end: something that it cannot go on without has ended."""

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
    with stray_errors_recorded(service, asyncio.get_running_loop()):
        if not await unless_asked(asked, service.start()):
            log.info("asked to stop before the start was over")
            return
        on_ready(service)
        await unless_asked(asked, service.ended.wait())
        log.info("%s", service.failure or "asked to stop")
        await service.stop()
        log.info("stopped")
    if service.failure:
        raise SinkError(service.failure)


@contextlib.contextmanager
def stray_errors_recorded(service: Service, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Record errors that no code was there to catch, until the block ends.

    An error in a callback of the event loop, or in a task whose result is never asked for, is recorded as a failure of
    "callbacks": the loop goes on. A thread that ends with an error is missing from then on: the process ends.
    """
    hook, handler = threading.excepthook, loop.get_exception_handler()

    def thread_ended(ended: threading.ExceptHookArgs) -> None:
        name = ended.thread.name if ended.thread is not None else "a thread"
        service.failures.ended(name, ended.exc_value)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends anyway
            loop.call_soon_threadsafe(service.fail, f"the thread {name} has ended: {ended.exc_value!r}")

    def stray(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception):
            service.failures.happened(_CALLBACKS, error)
        else:
            loop.default_exception_handler(context)

    service.failures.declare(_CALLBACKS)
    threading.excepthook = thread_ended
    loop.set_exception_handler(stray)
    try:
        yield
    finally:
        threading.excepthook = hook
        loop.set_exception_handler(handler)


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
