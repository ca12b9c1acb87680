"""Events as JSON lines: {"type", "seq", "time", "data"}; tools/decode_records.py prints the same bytes."""

from __future__ import annotations

import json
import time
from functools import lru_cache
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


def json_line(event: Event) -> str:
    """Return an event as one line of JSON, without the line's end."""
    line = {"type": event.type, "seq": event.seq, "time": rfc3339(event.time_unix_nano), "data": event.data}
    try:
        return _encode(line)
    except (TypeError, ValueError):  # bytes, NaN or infinities: 0.1 us are saved where there are none
        line["data"] = json_ready(event.data)
        return _encode(line)


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
