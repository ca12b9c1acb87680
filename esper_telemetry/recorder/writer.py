"""The writer thread: takes what the buffer sealed and gives it to the sink.

It alone talks to the sink. A sink that fails keeps its batch: the write is tried
again with growing pauses while training goes on and the buffer sheds by class.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from esper_telemetry.errors import TelemetryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.recorder.buffer import Buffer
    from esper_telemetry.schema import Batch
    from esper_telemetry.sinks import Sink

_log = logging.getLogger("esper_telemetry")

# An event that is never shed is on its way within 50 ms; until then its neighbours may join its frame.
URGENT_DELAY = 0.03
_RETRY_FIRST, _RETRY_LAST = 0.1, 5.0


class WriterThread:
    """Owner of the sink.

    Attributes:
        error: the failure that the sink has not recovered from, or None.
        cpu_seconds: processor time of the thread so far.
    """

    def __init__(
        self,
        buffer: Buffer,
        sink: Sink,
        flush_interval: float,
        report_losses: Callable[[], None],
        check_clock: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the thread.

        Args:
            buffer: where events come from.
            sink: where they go.
            flush_interval: longest time an event waits, in seconds.
            report_losses: called about once a second, and before the end.
            check_clock: called as often, when nothing waits whose time is still to be reckoned.
        """
        self._buffer = buffer
        self._sink = sink
        self._interval = flush_interval
        self._report_losses = report_losses
        self._check_clock = check_clock
        self._look_after_files: Callable[[], None] = getattr(sink, "check", lambda: None)
        self._backlog: deque[Batch] = deque()
        self._state = threading.Condition()
        self._asked = self._answered = 0
        self._sync_asked = False
        self._stopping = threading.Event()
        self._retry = _RETRY_FIRST
        self._said = False
        self.error: TelemetryError | None = None
        self.cpu_seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="esper-telemetry-writer", daemon=True)
        self._thread.start()

    def flush(self, timeout: float, *, sync: bool = False) -> bool:
        """Wait until everything emitted before this call was written; return False if it was not in time."""
        with self._state:
            self._asked += 1
            mine = self._asked
            self._sync_asked |= sync
        self._buffer.wake.set()
        with self._state:
            return self._state.wait_for(lambda: self._answered >= mine, timeout)

    def stop(self, timeout: float) -> list[Batch]:
        """Write what is left for at most `timeout` seconds; return the batches that could not be written."""
        deadline = time.monotonic() + timeout
        self.flush(timeout)
        self._stopping.set()
        self._buffer.wake.set()
        self._thread.join(max(0.0, deadline - time.monotonic()) + URGENT_DELAY)
        if self._thread.is_alive():  # the sink hangs inside a write: the file keeps its whole frames
            return [*self._backlog, *self._buffer.take()]
        left = [*self._backlog, *self._buffer.take()]
        try:
            self._sink.close()
        except (TelemetryError, OSError) as error:
            self._fail(error)
        return left

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self.error:
                self._stopping.wait(self._retry)
            else:
                self._buffer.wake.wait(self._interval)
            self._buffer.wake.clear()
            if self._buffer.urgent and self._asked == self._answered:
                self._stopping.wait(URGENT_DELAY)
            self._cycle()
            self.cpu_seconds = time.thread_time()
        self._cycle()

    def _cycle(self) -> None:
        with self._state:
            asked, sync = self._asked, self._sync_asked
        self._look_after_files()
        self._report_losses()
        self._backlog.extend(self._buffer.take())
        self._check_clock()
        try:
            while self._backlog:
                self._sink.write(self._backlog[0])
                self._buffer.written(self._backlog.popleft())
            if sync:
                self._sink.sync()
        except (TelemetryError, OSError) as error:
            self._fail(error)
            return
        self._recovered()
        with self._state:
            self._answered = asked
            if self._asked == asked:
                self._sync_asked = False
            self._state.notify_all()

    def _fail(self, error: Exception) -> None:
        self._retry = min(self._retry * 2, _RETRY_LAST) if self.error else _RETRY_FIRST
        self.error = error if isinstance(error, TelemetryError) else TelemetryError(str(error))
        if not self._said:
            self._said = True
            _log.warning(
                "telemetry cannot be written and is kept in memory as far as it fits; training goes on: %s", error
            )

    def _recovered(self) -> None:
        if self.error:
            _log.warning("telemetry is being written again")
            self.error, self._said = None, False
