"""The runs of this process that are not closed yet, and when they are closed at last.

A run is held by what can emit into it: itself and its bound emitters. One that nothing holds any more (a notebook
cell that was run again) is closed at the next start; what is left when the interpreter ends is closed then. Nothing is
closed from a finalizer: that would run at any moment, in any thread, under any lock.

How a program ended is asked of the interpreter, which keeps the exception it died of (`sys.last_value`). It keeps those
of a prompt or of a test runner as well, so only one counts that unwound the outermost frame of a program without a
prompt. The status that `sys.exit` was given is not to be had at exit: such a run is abandoned, like one just left open.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import sys
from typing import TYPE_CHECKING, Protocol

from esper_telemetry.recorder.ending import ending

if TYPE_CHECKING:
    from esper_telemetry.recorder.ending import Ending

_log = logging.getLogger("esper_telemetry")
AT_EXIT = "closed at exit"
FORGOTTEN = "nothing referred to it any more; closed at the next start"


class OpenRun(Protocol):
    """What closes a run that is open."""

    run_id: str
    closed: bool

    @property
    def held(self) -> bool:
        """Events can still be emitted: the run or an emitter bound to it is alive."""

    @property
    def inherited(self) -> bool:
        """This process is a fork child of the one that opened the run."""

    def close(self, how: Ending) -> None:
        """Write how the run ended and close its record."""


_open: list[OpenRun] = []  # the calls of a list are atomic, and leave no lock behind that a signal could hold
_hooked: list[bool] = []  # something, once the end of the interpreter is waited for


def add(closing: OpenRun) -> None:
    """Remember an open run until it is closed."""
    if not _hooked:
        _hooked.append(True)
        atexit.register(close_all)
    _open.append(closing)


def discard(closing: OpenRun) -> None:
    """Forget a run that was closed."""
    with contextlib.suppress(ValueError):
        _open.remove(closing)


def close_forgotten() -> None:
    """Close the runs that nothing holds any more, and log that."""
    for closing in _open.copy():
        if not (closing.held or closing.inherited or closing.closed):
            _log.warning(
                "run %s was never closed and nothing refers to it any more: closed as abandoned", closing.run_id
            )
            _close(closing, ending("abandoned", reason=FORGOTTEN))


def close_all() -> None:
    """Close every run at the end of the interpreter."""
    error = _error_at_exit()
    for closing in _open.copy():
        _close(closing, _ending_at_exit(closing, error))


def _close(closing: OpenRun, how: Ending) -> None:
    try:
        closing.close(how)
    except Exception:  # noqa: BLE001 - one run that cannot be closed keeps no other open
        _log.exception("run %s could not be closed", closing.run_id)
    discard(closing)


def _ending_at_exit(closing: OpenRun, error: BaseException | None) -> Ending:
    """Return what is known of a run when the program ends.

    An exception that ended the program keeps its frames, and they hold the runs that it ended: one that nothing
    holds was left before.
    """
    if error is not None:
        return ending(error=error, reason=AT_EXIT) if closing.held else ending("abandoned", reason=AT_EXIT)
    return ending("abandoned", reason=AT_EXIT)


def _error_at_exit() -> BaseException | None:
    """Return the exception that ended the program, as far as the interpreter knows."""
    error = getattr(sys, "last_value", None)
    at_a_prompt = hasattr(sys, "ps1")
    return error if isinstance(error, BaseException) and not at_a_prompt and _ended_program(error) else None


def _ended_program(error: BaseException) -> bool:
    """Tell whether an exception got out of the outermost frame, and was not caught on its way."""
    trace = error.__traceback__
    return trace is not None and trace.tb_frame.f_back is None
