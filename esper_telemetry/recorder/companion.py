"""A thread of a run beside its writer, watched over: none dies unseen.

Its death is logged once, kept in `error` and shown by the run's `stats()`; it never takes the run along. It is a
daemon, ends with the run within a bounded time, and does not exist in a fork child.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("esper_telemetry")


class Companion:
    """A thread that does one thing until it is asked to stop.

    Args:
        name: what it does, for people: "system sampler".
        work: called in the thread with an event that is set when it has to return.
        ask: called by `stop` after that event is set, to wake `work` up.
        patience: seconds that `stop` waits at most, whatever it is given.

    Attributes:
        name: as given.
        error: what ended it before it was asked to stop, or None.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[threading.Event], None],
        *,
        ask: Callable[[], None] = lambda: None,
        patience: float = math.inf,
    ) -> None:
        self.name = name
        self.error: BaseException | None = None
        self._work = work
        self._ask = ask
        self._patience = patience
        self._stopping = threading.Event()
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name=f"esper-telemetry {name}", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Ask the thread to end, and wait for at most `timeout` seconds."""
        if os.getpid() != self._pid:
            return  # a fork child has a copy of this object, and no thread
        self._stopping.set()
        self._ask()
        if self._thread is not threading.current_thread():
            self._thread.join(min(timeout, self._patience))

    def _run(self) -> None:
        try:
            self._work(self._stopping)
        except BaseException as error:  # noqa: BLE001 - whatever ends it, it is said
            self.error = error
            _log.warning("the %s has died, and the run goes on without it: %r", self.name, error)
