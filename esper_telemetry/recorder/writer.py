"""The writer thread: takes frames from the buffer and gives them to the sink.

It alone talks to the sink, its end included: whoever flushes or closes leaves a wish in plain attributes, wakes it and
looks on, for a bounded time and without a lock, so that a signal handler may flush while it has interrupted a flush.
A sink that fails keeps its batch: the write is tried again with growing pauses while training goes on and the buffer
sheds by class. Whatever else goes wrong in here is survived: the batch is tried once more and then counted as lost. If
the thread should end all the same, that is logged at once, nobody waits for it, and what comes later is counted.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from esper_telemetry.errors import SinkError, TelemetryError
from esper_telemetry.recorder.ledger import SHUTDOWN, WRITER_FAILED
from esper_telemetry.recorder.wakeup import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.recorder.buffer import Buffer
    from esper_telemetry.recorder.wakeup import Wakeup
    from esper_telemetry.sinks import Sink

_log = logging.getLogger("esper_telemetry")

# An event that is never shed is on its way within 50 ms; until then its neighbours may join its frame.
URGENT_DELAY = 0.03
_RETRY_FIRST, _RETRY_LAST = 0.1, 5.0


class WriterThread:
    """Owner of the sink. `flush` and `finish` may be called by any thread, and from signal handlers and finalizers.

    Args:
        buffer: where events come from.
        sink: where they go.
        wakeup: what the buffer wakes it by.
        flush_interval: longest time an event waits, in seconds.
        report_losses: called in every cycle.

    Attributes:
        error: the failure that the sink, or the thread, has not recovered from, or None.
        ended: everything was written and the sink is closed, or it was given up.
        cpu_seconds: processor time of the thread so far.
    """

    def __init__(
        self, buffer: Buffer, sink: Sink, wakeup: Wakeup, flush_interval: float, report_losses: Callable[[], None]
    ) -> None:
        self._buffer = buffer
        self._sink = sink
        self._wakeup = wakeup
        self._interval = flush_interval
        self._report_losses = report_losses
        self._begun = self._done = 0  # cycles: the last that was begun, the last that ended well
        self._sync_wish: object | None = None  # a new one for each flush that wants a sync
        self._sync_granted: object | None = None
        self._hurry = False
        self._deadline: float | None = None  # of the end, once somebody wishes for it
        self._given_up = False
        self._retry = _RETRY_FIRST
        self._said = False
        self._odd_at: int | None = None  # last number taken when something unexpected happened
        self.error: TelemetryError | None = None
        self.ended = False
        self.cpu_seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="esper-telemetry-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """The thread is at work."""
        return self._thread.is_alive()

    def flush(self, timeout: float, *, sync: bool = False) -> bool:
        """Wait until everything emitted before this call was written; return False if it was not in time.

        It returns at once where waiting is vain: in the writer thread itself, and when that has ended.
        """
        if sync:
            self._sync_wish = object()
        cycle = self._begun + 1  # it begins after this line, and takes all that was emitted before
        self._press()
        self._look_on(lambda: self._done >= cycle or self.ended, time.monotonic() + timeout)
        return self._done >= cycle or (self.ended and not self._given_up and self.error is None)

    def finish(self, timeout: float) -> None:
        """Write what is left and close the sink; when `timeout` seconds have passed, give up and count what is lost.

        The time runs from the first call. A call that an exception breaks off leaves the wish: the thread goes on, and
        the next call waits for it.
        """
        if self._deadline is None:
            self._deadline = time.monotonic() + timeout
        self._press()
        if self._look_on(lambda: self.ended, self._deadline) or threading.current_thread() is self._thread:
            return
        if not self._given_up:
            self._given_up = True
            self._buffer.drop_all(SHUTDOWN)
        if self.alive:  # it closes the sink, unless that hangs
            self._wakeup.set()
            self._look_on(lambda: self.ended, time.monotonic() + URGENT_DELAY)
        else:
            self._close_sink()

    def _press(self) -> None:
        self._hurry = True
        self._wakeup.set()

    def _look_on(self, condition: Callable[[], bool], deadline: float) -> bool:
        """Wait for the thread to make `condition` true; return whether it did."""
        if threading.current_thread() is self._thread:
            return condition()
        return wait_until(lambda: condition() or not self.alive, deadline) and condition()

    def _run(self) -> None:
        try:
            while not self.ended:
                self._step()
                self.cpu_seconds = time.thread_time()
        except BaseException as error:  # noqa: BLE001 - it is said, and what is lost by it is counted
            self._die(error)

    def _step(self) -> None:
        """Wait for something to do, and do it; whatever happens, the thread goes on."""
        try:
            self._wait()
            self._hurry = False
            if self._given_up:
                self._close_sink()
            else:
                self._cycle()
        except (TelemetryError, OSError) as error:
            self._fail(error)
        except BaseException as error:  # noqa: BLE001 - nothing ends this thread but the end of its work
            self._survive(error)

    def _wait(self) -> None:
        """Sleep until there is something to do: an interval at most, a pause after a failure."""
        if self.error:
            self._sleep(self._retry, wake_for_events=False)
        else:
            self._sleep(self._interval, wake_for_events=True)
        if self._buffer.urgent:
            self._sleep(URGENT_DELAY, wake_for_events=False)

    def _sleep(self, seconds: float, *, wake_for_events: bool) -> None:
        deadline = time.monotonic() + seconds
        while not self._pressed() and (left := deadline - time.monotonic()) > 0:
            self._wakeup.wait(left)
            if wake_for_events:
                return

    def _pressed(self) -> bool:
        """Somebody waits, and there is no failure to wait for."""
        return self._given_up or (self.error is None and (self._hurry or self._deadline is not None))

    def _cycle(self) -> None:
        cycle = self._begun = self._begun + 1
        wish = self._sync_wish
        ending = self._deadline is not None
        self._report_losses()
        goal = self._buffer.last_seq
        while (batch := self._buffer.take()) is not None and not self._given_up:
            self._sink.write(batch)
            self._buffer.written()
            if batch.last_seq >= goal and not ending:
                break
        if wish is not self._sync_granted:
            self._sink.sync()
            self._sync_granted = wish
        self._recovered()
        self._done = cycle
        if ending:
            self._close_sink()

    def _close_sink(self) -> None:
        """Close the sink: the last thing that is done."""
        try:
            self._sink.close()
        except (TelemetryError, OSError) as error:
            self._fail(error)
        finally:
            self.ended = True

    def _fail(self, error: Exception) -> None:
        self._retry = min(self._retry * 2, _RETRY_LAST) if self.error else _RETRY_FIRST
        self.error = error if isinstance(error, TelemetryError) else TelemetryError(str(error))
        self._say(f"telemetry cannot be written and is kept in memory as far as it fits; training goes on: {error}")

    def _recovered(self) -> None:
        if self.error:
            self.error, self._said, self._odd_at = None, False, None
            _log_safely(logging.WARNING, "telemetry is being written again")

    def _survive(self, error: BaseException) -> None:
        """Go on after what should not have happened: the events at hand are tried once more, then counted as lost."""
        again, self._odd_at = self._odd_at == self._buffer.taken_seq, self._buffer.taken_seq
        if again:
            self._buffer.drop(WRITER_FAILED)
            self._odd_at = None
        self._retry = _RETRY_FIRST
        self.error = SinkError(f"the telemetry writer met {type(error).__name__}: {error}; it goes on")
        self._say(f"the telemetry writer met an error that it does not know and goes on; training does too: {error!r}")

    def _say(self, text: str) -> None:
        """Log a failure, once until it is over."""
        if not self._said:
            self._said = True
            _log_safely(logging.WARNING, text)

    def _die(self, error: BaseException) -> None:
        """Say that the thread is over, and count what nobody will write."""
        self.error = SinkError(f"the telemetry writer has ended ({error!r}): nothing more is recorded")
        self._buffer.drop_all(WRITER_FAILED, refuse=True)
        _log_safely(logging.CRITICAL, f"{self.error}; training goes on")


def _log_safely(level: int, text: str) -> None:
    """Log from the writer thread, which a handler of the program's that raises must not end."""
    with suppress(Exception):
        _log.log(level, "%s", text)
