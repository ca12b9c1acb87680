"""A thread that takes turns until it is told to end: no error ends it, and none is lost.

It is for work that blocks and repeats, such as reading folders or sending files. A turn that raises is recorded in
`TaskFailures` and taken again after 1, 2, 4, ... 60 s.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.daemon.failures import TaskFailures

_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0


class WorkerThread:
    """One thread. `start`, then `end`; any thread may call `wake`.

    Args:
        name: of the task, in logs and metrics; the thread is "collector-NAME".
        turn: does some of the work and returns after how many seconds it wants to be called again.
        failures: where each turn that raises is recorded, and the first one that works again.
        settled: whether nothing that failed is left to be tried again. Until then a turn that raises nothing, for it
            had something else to do or nothing, does not count as one that works again.

    Attributes:
        ending: whether `end` was called; a turn that takes long looks at it.
    """

    def __init__(
        self,
        name: str,
        turn: Callable[[], float],
        failures: TaskFailures,
        settled: Callable[[], bool] = lambda: True,
    ) -> None:
        self.ending = False
        self._name = name
        self._turn = turn
        self._failures = failures
        self._settled = settled
        self._awake = threading.Event()
        self._wait_s = 0.0
        self._thread = threading.Thread(target=self._run, name=f"collector-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._failures.declare(self._name)
        self._thread.start()

    def wake(self) -> None:
        """Have the next turn taken at once; a turn under way is followed by another one."""
        self._awake.set()

    def end(self, seconds: float | None = None) -> None:
        """Take no more turns, and wait for the one under way, for at most `seconds`; None waits to its end."""
        self.ending = True
        self._awake.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self.ending:
            self._awake.clear()
            pause = self._guarded_turn()
            if pause > 0 and not self.ending:
                self._awake.wait(pause)

    def _guarded_turn(self) -> float:
        try:
            pause = self._turn()
        except BaseException as error:  # noqa: BLE001 - whatever it was, the work has to go on
            self._wait_s = min(max(_FIRST_WAIT_S, 2 * self._wait_s), _LONGEST_WAIT_S)
            self._failures.failed(self._name, error)
            return self._wait_s
        self._wait_s = 0.0
        if self._settled():
            self._failures.worked(self._name)
        return pause
