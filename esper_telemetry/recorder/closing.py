"""The end of a run: RunFinished, the last flush, and the report of losses. It knows the run's core, not its holder.

The user's values (exception, results) are read first, guarded and without a lock, because reading them runs the
user's code. Then the last event is stored and the writer stopped, whatever happened before: an exception that arrives
meanwhile from outside (Ctrl-C) goes on when the record is closed.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.facts.text import qualified_name, text_of
from esper_telemetry.recorder import unclosed
from esper_telemetry.recorder.ending import OUTCOMES, Ending
from esper_telemetry.recorder.notices import notify, settle_notices
from esper_telemetry.schema.guard import plain_value
from esper_telemetry.schema.misfit import is_misfit
from esper_telemetry.v1 import run_pb2

if TYPE_CHECKING:
    from esper_telemetry.recorder.core import Core, Reason

_NANOS = 1_000_000_000
_NAME_BYTES = 256
_MOST_NUMBERS = 1000  # 1,000 names of 256 bytes are half of what an event may take
_MOST_LEFT_OUT = 100


class Closing:
    """What closes a run, whether or not anything still holds it.

    Attributes:
        run_id: the run.
        results: final scalars of the run, as its holder left them.
        outcome: "open", and once it is closed how it ended.
        closed: it was closed, or is about to be.
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
        unclosed.add(self)

    @property
    def held(self) -> bool:
        """Events can still be emitted: the run or an emitter bound to it is alive."""
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
            self._core.await_compaction()  # an exception may have broken off the wait
            return
        self.closed = True
        self.outcome = how.outcome or "closed"
        if self._core.child:
            self._core.close_stream(_reason(how), how.error_type)
        else:
            self._finish(how)
        if not self._core.closed:  # asked for in the writer thread, which ends when it can; the exit waits for it
            return
        self._ended = True
        unclosed.discard(self)
        self._report_losses()
        settle_notices()
        self._core.await_compaction()
        self._core.check_sink()

    def _finish(self, how: Ending) -> None:
        message = _finished(how)
        try:
            self._measure(message)
        finally:
            if self._core.finish(message):  # also when what arrived meanwhile goes on: there is nothing left to close
                unclosed.discard(self)

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
            notify(logging.ERROR, f"RunFinished of {self.run_id} does without its duration or results", error)

    def _report_losses(self) -> None:
        recorded, lost = self._core.account()
        if lost:
            losses, offered = sum(lost.values()), sum(recorded.values()) + sum(lost.values())
            notify(logging.WARNING, f"telemetry lost {losses} of {offered} events: {lost}")


def _reason(how: Ending) -> Reason:
    """Return why the stream of a child ends."""
    if how.reason == unclosed.AT_EXIT:
        return "exit"
    return "failed" if how.outcome in ("failed", "interrupted") else "closed"


def _finished(how: Ending) -> run_pb2.RunFinished:
    return run_pb2.RunFinished(
        outcome=OUTCOMES[how.outcome] if how.outcome is not None else run_pb2.RUN_OUTCOME_UNSPECIFIED,
        error_type=how.error_type,
        error_message=how.error_message,
        reason=how.reason,
    )


class Results(NamedTuple):
    """Results, sorted out.

    Attributes:
        numbers: by name.
        left_out: names of the others; where there are too many, the last one states how many more.
    """

    numbers: dict[str, float]
    left_out: list[str]


def plain_results(given: Any) -> Results:
    """Return the results that are numbers on the host, and the names of the others, which are logged."""
    if not isinstance(given, Mapping):
        kind = qualified_name(type(given))
        notify(logging.WARNING, f"run.results is a {kind} and was left out; give a dict of numbers")
        return Results({}, ["results"])
    numbers: dict[str, float] = {}
    left_out: list[str] = []
    for key, value in list(given.items()):
        name = text_of(key, _NAME_BYTES)
        number = _number(name, value)
        if number is None or len(numbers) >= _MOST_NUMBERS:
            left_out.append(name)
        else:
            numbers[name] = number
    more = len(left_out) - _MOST_LEFT_OUT
    return Results(numbers, [*left_out[:_MOST_LEFT_OUT], *([f"{more:,} more"] if more > 0 else [])])


def _number(name: str, value: Any) -> float | None:
    try:
        plain = plain_value(name, value)
        if isinstance(plain, (str, bytes)):
            raise TypeError(f"{qualified_name(type(plain))} is no number")  # noqa: TRY301 - logged below like any other
        return float(plain)
    except Exception as error:
        if not is_misfit(error):  # a signal handler's, or set by another thread: the caller's
            raise
        notify(logging.WARNING, f"results[{name!r}] was left out of RunFinished: {text_of(error, 500)}")
        return None
