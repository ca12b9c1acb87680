"""How a run ended, judged from the exception that ended it. Pure: nothing is written here.

An outcome is a measurement. "completed" needs a body that ran to its end, or a program that left with status 0;
"interrupted" a user, a signal or a cancellation; everything else that was raised is a failure. A run that was never
closed is "abandoned": how it ended is unknown. No exception can make this fail: every question to it is guarded.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from esper_telemetry.facts.text import qualified_name, text_of, type_name, utf8_text
from esper_telemetry.v1 import run_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

Outcome = Literal["completed", "failed", "interrupted", "abandoned"]
OUTCOMES: dict[Outcome, run_pb2.RunOutcome] = {
    "completed": run_pb2.RUN_OUTCOME_COMPLETED,
    "failed": run_pb2.RUN_OUTCOME_FAILED,
    "interrupted": run_pb2.RUN_OUTCOME_INTERRUPTED,
    "abandoned": run_pb2.RUN_OUTCOME_ABANDONED,
}
MESSAGE_LIMIT = 4096
_REASON_LIMIT = 512

_SIGNAL_EXIT = 128  # a shell reports a process that died of signal n as 128 + n
# Package and class of exceptions that mean a user, a signal or a cancellation. By name: importing asyncio costs 40 ms,
# and a program that never loaded it cannot have been cancelled by it.
_STOPS = frozenset(
    {
        ("asyncio", "CancelledError"),
        ("bdb", "BdbQuit"),  # "quit" in a debugger
        ("click", "Abort"),  # Ctrl-C at a prompt
        ("curio", "CancelledError"),
        ("lightning", "SIGTERMException"),  # a SystemExit without a code: the process then ends with status 0
        ("pytorch_lightning", "SIGTERMException"),
        ("torch", "SignalException"),  # torch elastic was told to end
        ("trio", "Cancelled"),
    }
)
# Parts of a group that are looked at; parts beyond are ignored.
_MOST_PARTS = 1000


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended.

    Attributes:
        outcome: None if the caller gave something that is no outcome.
        error_type: class of the exception; None without one.
        error_message: its text, at most 4 KiB.
        reason: what the outcome does not state.
    """

    outcome: Outcome | None
    error_type: str | None = None
    error_message: str | None = None
    reason: str = ""


def ending(outcome: Any = None, error: Any = None, reason: str = "") -> Ending:
    """Return what is recorded of an end.

    Args:
        outcome: what the caller gives; None: the exception decides.
        error: the exception, or a text in its place.
        reason: what the outcome does not state.
    """
    judged, seen = judge(error) if isinstance(error, BaseException) else (None, "")
    if outcome is None:
        outcome = judged or ("completed" if error is None else "failed")
    known = outcome if isinstance(outcome, str) and outcome in OUTCOMES else None
    unknown = "" if known else f"unknown outcome {text_of(outcome, MESSAGE_LIMIT)!r}"
    stated = utf8_text("; ".join(filter(None, (text_of(reason, _REASON_LIMIT), seen, unknown))), _REASON_LIMIT)
    if error is None or judged == "completed":
        return Ending(known, reason=stated)
    kind = type_name(type(error)) if isinstance(error, BaseException) else None
    return Ending(known, kind, _message(error), stated)


def _message(error: Any) -> str:
    """Return the text of an exception; one that carries a tensor is not asked, for printing it reads the device."""
    given = _own(BaseException, "args", error) if isinstance(error, BaseException) else ()
    if not any(_is_array(value) for value in given):
        return text_of(error, MESSAGE_LIMIT)
    shown = (
        f"<{qualified_name(type(value))}>" if _is_array(value) else text_of(value, MESSAGE_LIMIT) for value in given
    )
    return utf8_text(", ".join(shown), MESSAGE_LIMIT)


def _is_array(value: Any) -> bool:
    return any("shape" in cls.__dict__ for cls in type.mro(type(value)))


def judge(error: BaseException) -> tuple[Outcome, str]:
    """Return the outcome of a run that `error` ended, and a reason where the outcome needs one."""
    if isinstance(error, GeneratorExit):
        return "completed", "its generator was closed"  # by its consumer, which wanted no more
    if isinstance(error, BaseExceptionGroup):
        return _outcome_of_group(error), ""
    return _outcome_of(error), ""


def _outcome_of(error: BaseException) -> Outcome:
    if isinstance(error, KeyboardInterrupt) or _is_stop(error):
        return "interrupted"
    if isinstance(error, SystemExit):
        return _outcome_of_exit(error)
    return "completed" if isinstance(error, GeneratorExit) else "failed"


def _outcome_of_exit(error: SystemExit) -> Outcome:
    """Return what the exit status means, by the interpreter's own rule: no code and a whole number 0 are success.

    An exit while Ctrl-C was handled is how frameworks end after it (Lightning 2.6: status 1).
    """
    if isinstance(_own(BaseException, "__context__", error), KeyboardInterrupt):
        return "interrupted"
    code = _own(SystemExit, "code", error)
    if code is None:
        return "completed"
    if not isinstance(code, int):
        return "failed"
    status = int.__index__(code)
    if status == 0:
        return "completed"
    return "interrupted" if status - _SIGNAL_EXIT in signal.valid_signals() else "failed"


def _is_stop(error: BaseException) -> bool:
    names = ((cls.__dict__.get("__module__"), type_name(cls)) for cls in type.mro(type(error)))
    return any((str(module).partition(".")[0], name) in _STOPS for module, name in names)


def _outcome_of_group(group: BaseExceptionGroup[BaseException]) -> Outcome:
    """An interrupt by the user comes before failures; a failure comes before the tasks cancelled because of it."""
    parts = list(_parts(group))
    if any(isinstance(part, KeyboardInterrupt) for part in parts):
        return "interrupted"
    seen = {_outcome_of(part) for part in parts}
    order: tuple[Outcome, ...] = ("failed", "interrupted", "completed")
    return next((outcome for outcome in order if outcome in seen), "failed")


def _parts(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    waiting: list[BaseException] = [group]
    for _ in range(_MOST_PARTS):
        if not waiting:
            return
        part = waiting.pop()
        if isinstance(part, BaseExceptionGroup):
            waiting.extend(_own(BaseExceptionGroup, "exceptions", part))
        else:
            yield part


def _own(cls: type, name: str, error: BaseException) -> Any:
    """Return an attribute as the built-in class keeps it: a subclass may hide it behind code of its own."""
    return cls.__dict__[name].__get__(error)
