"""Tells an exception that a call (`emit`, `close`) earned by its values from one that only arrived while it ran.

An exception that a signal handler raises, or that another thread sets (a time limit), is the caller's: it must reach
him and not be taken for a bad field. Both are met in the same place, so they are distinguished by where they come from:
what the encoding raises itself, or a method of a value that it reads, is a misfit, and everything else is not.
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Error as ProtobufError

from esper_telemetry.errors import SchemaError, TelemetryError

if TYPE_CHECKING:
    from types import FrameType, TracebackType

# Modules that read values, ours and what they call: whatever else runs in there is a value's, or came from outside.
_READING = (
    "esper_telemetry.",
    "google.protobuf",
    "collections",
    "_collections_abc",
    "enum",
    "numbers",
    "fractions",
)
_PLAIN = (int, float, str, bytes, bool, type(None))


def is_misfit(error: Exception) -> bool:
    """Tell whether `error`, caught where values are read or encoded, comes of them (or of a bug here).

    What another thread sets while a method of a value runs counts as the value's: nothing tells the two apart.
    """
    frames = _frames(error.__traceback__)
    for depth, frame in enumerate(frames[1:], 1):
        if not str(frame.f_globals.get("__name__", "")).startswith(_READING):
            return _is_method_of_value(frame, frames[:depth])
    if isinstance(error, (TelemetryError, ProtobufError)):
        return True
    return _raised_here(error)


def as_refusal(error: Exception) -> SchemaError:
    """Return what a value did when it was looked at as an error of the call; `error` itself is raised if it is none.

    Call it where the exception was caught.
    """
    if not is_misfit(error):
        raise error
    if isinstance(error, SchemaError):
        return error
    return SchemaError(f"a value raised {type(error).__name__} when it was looked at")


def is_of_this_line(error: Exception) -> bool:
    """Tell whether the very call or look-up that `error` was caught around raised it: wrong names, an unknown key."""
    return len(_frames(error.__traceback__)) == 1 and _raised_here(error)


def _raised_here(error: Exception) -> bool:
    """Tell whether the interpreter or protobuf raised `error`: what another thread sets is a type without arguments."""
    return bool(error.args) and type(error).__module__ == builtins.__name__


def _frames(trace: TracebackType | None) -> list[FrameType]:
    """Return the frames that an exception went through, from the one that caught it inwards."""
    found = []
    while trace is not None:
        found.append(trace.tb_frame)
        trace = trace.tb_next
    return found


def _is_method_of_value(frame: FrameType, readers: list[FrameType]) -> bool:
    """Tell whether `frame` runs a method of an object that one of `readers` has in hand."""
    code = frame.f_code
    first: Any = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
    if isinstance(first, _PLAIN):  # a signal handler's number, and values that have no methods of their own
        return False
    return any(first is value for reader in readers for value in reader.f_locals.values())
