"""`run.progress(done=..., total=...)`: how far the run is, at most once a second.

What is left out between two events is no loss: each says all that the ones before did. The first and the last
(done = total) are always recorded.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import SchemaError
from esper_telemetry.recorder.names import plain_name
from esper_telemetry.schema.guard import plain_value
from esper_telemetry.schema.misfit import as_refusal
from esper_telemetry.v1.process_pb2 import RunProgress

if TYPE_CHECKING:
    from esper_telemetry.recorder.core import Core
    from esper_telemetry.recorder.emitter import Emitter

_INTERVAL_S = 1.0


class Progress:
    """Reports of one run, by unit."""

    def __init__(self) -> None:
        self._reported: dict[str, tuple[float, float | None, float | None]] = {}  # unit → when, done, total

    def report(self, core: Core, emitter: Emitter, done: Any, total: Any, unit: Any) -> None:
        """Record how far the run is, unless it said so within the second.

        Args:
            core: of the run; it counts what is refused.
            emitter: has the context.
            done: done so far; None: not known.
            total: planned for the whole run; None: not known.
            unit: what is counted.

        Raises:
            SchemaError: only with strict=True, when an argument is no number.
        """
        try:
            counted = plain_name("a unit", unit)
            now, at, end = monotonic(), _number("done", done), _number("total", total)
        except Exception as error:  # noqa: BLE001 - what is no misfit is raised again
            core.reject(RunProgress.DESCRIPTOR.full_name, as_refusal(error))
            return
        before = self._reported.get(counted)
        finished = at is not None and end is not None and at >= end
        if before is None or now - before[0] >= _INTERVAL_S or end != before[2] or (finished and at != before[1]):
            self._reported[counted] = (now, at, end)
            emitter.emit(RunProgress, done=at, total=end, unit=counted)


def _number(name: str, value: Any) -> float | None:
    plain = plain_value(name, value)
    if plain is None:
        return None
    if not isinstance(plain, (int, float)):
        raise SchemaError(f"progress: {name} is a {type(value).__qualname__}; pass a number")
    try:
        return float(plain)
    except OverflowError:
        raise SchemaError(f"progress: {name} is an integer that no double can hold") from None
