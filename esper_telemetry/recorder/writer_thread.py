"""The writer thread: takes frames from the buffer and gives them to the sink.

It alone talks to the sink, from its opening to its end, so that no signal comes between a file and its owner. Who
flushes or closes leaves a wish in plain attributes, wakes it and looks on, for a bounded time and without a lock, so
that a signal handler may flush while it has interrupted a flush.

A sink that fails keeps its batch: the write is tried again with growing pauses while training goes on and the buffer
sheds by class. Whatever else goes wrong in here is survived: the batch is tried once more and then counted as lost. If
the thread should end all the same, that is logged at once, no call waits for it, and what comes later is counted.
"""

from __future__ import annotations

import _thread
import logging
import threading
import time
from typing import TYPE_CHECKING

from esper_telemetry.errors import SinkError, TelemetryError
from esper_telemetry.recorder.ledger import SHUTDOWN, WRITER_FAILED
from esper_telemetry.recorder.notices import write_line, write_notices
from esper_telemetry.recorder.wakeup import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.recorder.buffer import Buffer
    from esper_telemetry.recorder.wakeup import Wakeup
    from esper_telemetry.schema import Batch
    from esper_telemetry.sinks import Sink

# An urgent event is on its way within 50 ms; until then its neighbours may join its frame.
URGENT_DELAY = 0.03
_RETRY_FIRST, _RETRY_LAST = 0.1, 5.0
# Seconds after which a thread that has not begun is taken for one that never will.
_BIRTH = 1.0
_NOBODY = 0
# Seconds in which a thread that is not in the sink comes by on a machine that is busy.
_TURN = 1.0


class WriterThread:
    """Owner of the sink. `flush` and `finish` may be called by any thread, and from signal handlers and finalizers.

    Args:
        buffer: where events come from.
        make_sink: opens where they go.
        wakeup: what the buffer wakes it by.
        flush_interval: longest time an event waits, in seconds.
        keep_house: called in every cycle, before events are taken.
        afterwards: called when all was written and the sink is closed in good order, the last thing of the thread:
            what signals and other threads raise is not raised in it.

    Attributes:
        sink: where events go, once it is open.
        failed_start: what opening it raised, or None.
        error: the failure that the sink, or the thread, has not recovered from, or None.
        ended: everything was written and the sink is closed, or it was given up.
        cpu_seconds: processor time of the thread so far.
    """

    def __init__(
        self,
        buffer: Buffer,
        make_sink: Callable[[], Sink],
        wakeup: Wakeup,
        flush_interval: float,
        keep_house: Callable[[], None],
        *,
        afterwards: Callable[[], None] = lambda: None,
    ) -> None:
        self._buffer = buffer
        self._make_sink = make_sink
        self._wakeup = wakeup
        self._interval = flush_interval
        self._keep_house = keep_house
        self._afterwards = afterwards
        self._begun = self._done = 0  # cycles: the last that was begun, the last that ended well
        self._sync_wish: object | None = None  # a new one for each flush that wants a sync
        self._sync_granted: object | None = None
        self._hurry = False
        self._deadline: float | None = None  # of the end, once it is asked for
        self._given_up = self._in_sink = False
        self._droppers: list[object] = []
        self._retry = _RETRY_FIRST
        self._reported = False
        self._odd_at: int | None = None  # last number taken when something unexpected happened
        self._launched = self._over = False
        self.sink: Sink | None = None
        self.failed_start: BaseException | None = None
        self.error: TelemetryError | None = None
        self.ended = False
        self.cpu_seconds = 0.0
        self._claims: list[int] = []  # threads that began; the first is the writer

    def start(self, timeout: float) -> Sink:
        """Start the thread and return the sink that it has opened.

        Raises:
            SinkError: it could not be opened, or not in `timeout` seconds.
            ConfigError: an option of the sink cannot be used.
        """
        deadline = time.monotonic() + timeout
        while not self._claims and self.failed_start is None and time.monotonic() < deadline:
            self.launch()
            wait_until(lambda: bool(self._claims or self.failed_start), min(deadline, time.monotonic() + _BIRTH))
        self._look_on(lambda: self.sink is not None, deadline)
        if self.failed_start is not None:
            raise self.failed_start
        if self.sink is None:
            raise SinkError(f"the record could not be opened in {timeout:g} s: the disk did not answer")
        return self.sink

    def launch(self) -> None:
        """Start the thread, by way of another one, so that an exception set for this one cannot hang it; do not wait.

        CPython 3.11 gives a thread that is being born the identity of the one that starts it: PyThreadState_SetAsyncExc
        then hits the new thread, which is gone before its first instruction, and Thread.start waits for ever. What it
        hits here is tried again. A thread that waits for the interpreter to set one runs before.
        """
        time.sleep(0)
        self._launched = True
        try:
            _thread.start_new_thread(self._give_birth, ())
        except RuntimeError as error:
            self._no_thread(error)

    def _give_birth(self) -> None:
        try:
            threading.Thread(target=self._run, name="esper-telemetry-writer", daemon=True).start()
        except RuntimeError as error:
            self._no_thread(error)

    def _no_thread(self, error: RuntimeError) -> None:
        self.failed_start = SinkError(f"no thread can be started for the record: {error}")
        self.ended = self._over = True

    @property
    def alive(self) -> bool:
        """The thread is at work, or about to begin."""
        return self._launched and not self._over

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

    def finish(self, timeout: float) -> bool:
        """Write what is left and close the sink; when `timeout` seconds have passed, give up and count what is lost.

        The time runs from the first call. A call that an exception breaks off leaves the wish: the thread goes on, and
        the next call waits for it. In the writer thread itself, False: it is done when the caller has returned.
        """
        if self._deadline is None:
            self._deadline = time.monotonic() + timeout
        if not self._claims and self._never_born():
            return True
        self._press()
        if not self._look_on(lambda: self.ended, self._deadline):
            if self._is_here():
                return False
            self._give_up()
        return True

    def _never_born(self) -> bool:
        """Tell that there is no thread, and see to it that none begins: `start` was broken off."""
        if self._launched:
            wait_until(lambda: bool(self._claims or self.ended), time.monotonic() + _BIRTH)
        self._claims.append(_NOBODY)
        if self._claims[0] == _NOBODY:
            self.ended = self._over = True
            self._drop_all(SHUTDOWN)
        return self._claims[0] == _NOBODY

    def _give_up(self) -> None:
        """Count what is not written as lost. The thread does that itself, unless it hangs in the sink or is no more."""
        self._given_up = True
        self._wakeup.set()
        self._look_on(lambda: self.ended or self._in_sink, time.monotonic() + _TURN)
        self._look_on(lambda: self.ended, time.monotonic() + URGENT_DELAY)
        self._drop_all(SHUTDOWN)
        if not self.alive:
            self._close_sink()

    def _drop_all(self, cause: int) -> None:
        """Count all that waits as lost, unless another thread does: only one may take from the buffer."""
        me = object()
        self._droppers.append(me)
        if self._droppers[0] is me:
            self._buffer.drop_all(cause)

    def _press(self) -> None:
        self._hurry = True
        self._wakeup.set()

    def _look_on(self, condition: Callable[[], bool], deadline: float) -> bool:
        """Wait for the thread to make `condition` true; return whether it did."""
        if self._is_here():
            return condition()
        return wait_until(lambda: condition() or not self.alive, deadline) and condition()

    def _is_here(self) -> bool:
        """This is the writer thread."""
        return self._claims[:1] == [threading.get_ident()]

    def _run(self) -> None:
        self._claims.append(threading.get_ident())
        if not self._is_here():  # another one was born after all
            return
        try:
            self.sink = self._make_sink()
        except BaseException as error:  # noqa: BLE001 - `start` raises it
            self.failed_start, self.ended, self._over = error, True, True
            return
        try:
            while not self.ended:
                self._step(self.sink)
                self.cpu_seconds = time.thread_time()
        except BaseException as error:  # noqa: BLE001 - it is logged, and what is lost by it is counted
            self._die(error)
        else:
            self._conclude()
        finally:
            self._over = True

    def _conclude(self) -> None:
        """Do what is left for a record that is complete; it costs the record nothing if it fails."""
        if self._given_up or self.error is not None:
            return
        try:
            self._afterwards()
        except BaseException as error:  # noqa: BLE001 - the record is closed and whole
            write_line(logging.WARNING, f"the record stays as it was written: {error!r}")

    def _step(self, sink: Sink) -> None:
        """Wait for something to do, and do it; whatever happens, the thread goes on."""
        try:
            self._wait()
            write_notices()
            self._hurry = False
            if self._given_up:
                self._drop_all(SHUTDOWN)
                self._close_sink()
            else:
                self._cycle(sink)
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
            write_notices()

    def _pressed(self) -> bool:
        """A call waits, and there is no failure to pause for."""
        return self._given_up or (self.error is None and (self._hurry or self._deadline is not None))

    def _cycle(self, sink: Sink) -> None:
        cycle = self._begun = self._begun + 1
        wish = self._sync_wish
        ending = self._deadline is not None
        self._keep_house()
        goal = self._buffer.last_seq
        while not self._is_given_up() and (batch := self._buffer.take()) is not None:
            self._use(sink.write, batch)
            if self._is_given_up():  # the batch was counted as lost, which it may not be
                return
            self._buffer.written()
            if batch.last_seq >= goal and not ending:
                break
        if wish is not self._sync_granted:
            self._use(sink.sync)
            self._sync_granted = wish
        self._recovered()
        self._done = cycle
        if ending:
            self._close_sink()

    def _is_given_up(self) -> bool:
        """A thread that closes has stopped waiting (another one: it may change between two lines)."""
        return self._given_up

    def _use(self, call: Callable[..., None], *arguments: Batch) -> None:
        """Call the sink; threads that look on can see that this one is in there."""
        self._in_sink = True
        try:
            call(*arguments)
        finally:
            self._in_sink = False

    def _close_sink(self) -> None:
        """Close the sink: the last thing that is done."""
        self._buffer.stop(SHUTDOWN)
        try:
            if self.sink is not None:
                self._use(self.sink.close)
        except (TelemetryError, OSError) as error:
            self._fail(error)
        finally:
            self.ended = True

    def _fail(self, error: Exception) -> None:
        self._retry = min(self._retry * 2, _RETRY_LAST) if self.error else _RETRY_FIRST
        self.error = error if isinstance(error, TelemetryError) else TelemetryError(str(error))
        self._warn(f"telemetry cannot be written and is kept in memory as far as it fits; training goes on: {error}")

    def _recovered(self) -> None:
        if self.error:
            self.error, self._reported, self._odd_at = None, False, None
            write_line(logging.WARNING, "telemetry is being written again")

    def _survive(self, error: BaseException) -> None:
        """Go on after what should not have happened: the events at hand are tried once more, then counted as lost."""
        again, self._odd_at = self._odd_at == self._buffer.taken_seq, self._buffer.taken_seq
        if again:
            self._buffer.drop(WRITER_FAILED)
            self._odd_at = None
        self._retry = _RETRY_FIRST
        self.error = SinkError(f"the telemetry writer met {type(error).__name__}: {error}; it goes on")
        self._warn(f"the telemetry writer met an error that it does not know and goes on; training does too: {error!r}")

    def _warn(self, text: str) -> None:
        """Log a failure, once until it is over."""
        if not self._reported:
            self._reported = True
            write_line(logging.WARNING, text)

    def _die(self, error: BaseException) -> None:
        """Log that the thread is over, and count what will not be written."""
        self.error = SinkError(f"the telemetry writer has ended ({error!r}): nothing more is recorded")
        self._drop_all(WRITER_FAILED)
        write_line(logging.CRITICAL, f"{self.error}; training goes on")
