"""Events as JSON lines: {"type", "seq", "time", "data"}; tools/decode_records.py prints the same bytes."""

from __future__ import annotations

import json
from functools import lru_cache
from time import gmtime, strftime
from typing import TYPE_CHECKING

from esper_telemetry.schema import json_ready

if TYPE_CHECKING:
    from esper_telemetry.decode.event import Event

_NANOS = 1_000_000_000
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def rfc3339(time_unix_nano: int) -> str:
    """Return a time in UTC with nanoseconds, e.g. "2026-11-22T22:33:28.000000001Z".

    Args:
        time_unix_nano: nanoseconds since 1970 UTC.
    """
    seconds, nanos = divmod(time_unix_nano, _NANOS)
    return f"{_second(seconds)}.{nanos:09}Z"


def json_line(event: Event, time: str | float | None = None) -> str:
    """Return an event as one line of JSON, without the line's end.

    Args:
        event: the event.
        time: what to show as its time; None for `rfc3339`.
    """
    shown = rfc3339(event.time_unix_nano) if time is None else time
    line = {"type": event.type, "seq": event.seq, "time": shown, "data": event.data}
    try:
        return _encode(line)
    except (TypeError, ValueError):  # bytes, NaN or infinities: 0.1 us are saved where there are none
        line["data"] = json_ready(event.data)
        return _encode(line)


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds))
