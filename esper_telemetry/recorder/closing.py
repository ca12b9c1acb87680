"""The end of a run: RunFinished, the last flush, and what is said of losses. It knows the run's core, not its holder.

The user's values (exception, results) are read first, guarded and without a lock, because reading them runs the
user's code. Then the last event is stored and the writer stopped, whatever happened before: an exception that arrives
meanwhile from outside (Ctrl-C) goes on when the record is closed.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from esper_telemetry.recorder import openruns
from esper_telemetry.recorder.child import close_stream
from esper_telemetry.recorder.ending import OUTCOMES, Ending
from esper_telemetry.recorder.results import plain_results
from esper_telemetry.schema.misfit import is_misfit
from esper_telemetry.v1 import run_pb2

if TYPE_CHECKING:
    from esper_telemetry.recorder.child import Reason
    from esper_telemetry.recorder.core import Core

_log = logging.getLogger("esper_telemetry")
_NANOS = 1_000_000_000


class Closing:
    """What closes a run, whoever still holds it.

    Attributes:
        run_id: the run.
        results: final scalars of the run, as its holder left them.
        outcome: "open", and once it is closed how it ended.
        closed: somebody has closed it, or is about to.
    """

    def __init__(self, core: Core, run_id: str) -> None:
        self.run_id = run_id
        self.results: Any = {}
        self.outcome = "open"
        self._core = core
        self._started = core.clock.monotonic_ns()
        # Not the exception itself: its frames may hold the run, which then would be held for ever.
        self._handled_at_start = id(sys.exception())
        self.closed = self._ended = False
        openruns.add(self)

    @property
    def held(self) -> bool:
        """Somebody can still emit: the run or an emitter bound to it is alive."""
        return self._core.has_emitters

    @property
    def inherited(self) -> bool:
        """This process is a fork child of the one that opened the run."""
        return self._core.child

    def raised_since_start(self) -> BaseException | None:
        """Return the exception that the caller is handling, if it is younger than the run and not the end of a loop."""
        error = sys.exception()
        older = id(error) == self._handled_at_start
        return None if older or isinstance(error, (StopIteration, StopAsyncIteration)) else error

    def close(self, how: Ending) -> None:
        """Write RunFinished, in a child process the end of its stream, and stop the writer.

        Once that is done later calls do nothing. A call that an exception from outside breaks off, or one in the writer
        thread, leaves the run among the open ones: the next call, at the exit at the latest, waits for the end that was
        asked for first.

        Raises:
            SinkError: only with on_error="raise", when the sink has failed.
        """
        if self._ended:
            return
        self.closed = True
        self.outcome = how.outcome or "closed"
        if self._core.child:
            close_stream(self._core, _reason(how), how.error_type)
        else:
            self._finish(how)
        if not self._core.closed:  # asked for in the writer thread, which ends when it can; the exit waits for it
            return
        self._ended = True
        openruns.discard(self)
        self._say_losses()
        self._core.check_sink()

    def _finish(self, how: Ending) -> None:
        message = _finished(how)
        try:
            self._measure(message)
        finally:
            if self._core.finish(message):  # also when what arrived meanwhile goes on: there is nothing left to close
                openruns.discard(self)

    def _measure(self, message: run_pb2.RunFinished) -> None:
        """Add what is read from the user's values and the clock."""
        try:
            duration = (self._core.clock.monotonic_ns() - self._started) / _NANOS
            if duration >= 0:
                message.duration_s = duration
            found = plain_results(self.results)
            message.results.update(found.numbers)
            message.results_left_out.extend(found.left_out)
        except Exception as error:  # what a user's value or clock does costs this value alone
            if not is_misfit(error):
                raise
            _log.exception("RunFinished of %s does without its duration or results", self.run_id)

    def _say_losses(self) -> None:
        recorded, lost = self._core.account()
        if lost:
            losses, offered = sum(lost.values()), sum(recorded.values()) + sum(lost.values())
            _log.warning("telemetry lost %d of %d events: %s", losses, offered, lost)


def _reason(how: Ending) -> Reason:
    """Return why the stream of a child ends."""
    if how.reason == openruns.AT_EXIT:
        return "exit"
    return "failed" if how.outcome in ("failed", "interrupted") else "closed"


def _finished(how: Ending) -> run_pb2.RunFinished:
    return run_pb2.RunFinished(
        outcome=OUTCOMES[how.outcome] if how.outcome is not None else run_pb2.RUN_OUTCOME_UNSPECIFIED,
        error_type=how.error_type,
        error_message=how.error_message,
        reason=how.reason,
    )
