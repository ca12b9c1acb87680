"""Events as JSON lines: {"type", "seq", "time", "data"}; tools/decode_records.py prints the same bytes.

A sequence number counts within one stream, and a short name may belong to types of two packages. Where more than one
run, stream or attempt is read, a line therefore begins with those of "run", "stream", "rank", "attempt" and "producer"
that differ; a type whose short name is ambiguous is shown by its full name. The rules are in FORMAT.md.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from time import gmtime, strftime
from typing import TYPE_CHECKING, Any

from esper_telemetry.schema import json_ready

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esper_telemetry.decode.declared import DeclaredTypes
    from esper_telemetry.decode.event import Event
    from esper_telemetry.decode.streams import SegmentPlace

_NANOS = 1_000_000_000
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class StreamKeys:
    """What tells the events of one stream from those of the others that are read; a key that never differs is left out.

    Attributes:
        run: several runs are read.
        stream: streams of several names are read.
        rank: several streams are read.
        attempt: several attempts at a run are read.
        producer: two streams are alike in all of these, as those of two child processes are.
    """

    run: bool = False
    stream: bool = False
    rank: bool = False
    attempt: bool = False
    producer: bool = False

    def of(self, event: Event) -> dict[str, Any]:
        """Return the keys of an event, in their order; the producer by the first four bytes of its id, hex."""
        keys: dict[str, Any] = {}
        if self.run:
            keys["run"] = event.run_id
        if self.stream:
            keys["stream"] = event.stream
        if self.rank:
            keys["rank"] = event.rank
        if self.attempt:
            keys["attempt"] = event.attempt
        if self.producer:
            keys["producer"] = event.producer_id[:4].hex()
        return keys


def stream_keys(places: Iterable[SegmentPlace]) -> StreamKeys:
    """Return the keys that tell the streams of the segments apart."""
    streams = {
        (place.header.run_id, place.header.stream, place.header.rank, place.attempt, place.header.producer_id)
        for place in places
    }
    runs, names, _, attempts, _ = (set(values) for values in zip(*streams, strict=True)) if streams else [()] * 5
    alike = Counter(key[:4] for key in streams)
    return StreamKeys(
        run=len(runs) > 1,
        stream=len(names) > 1,
        rank=len(streams) > 1,
        attempt=len(attempts) > 1,
        producer=any(count > 1 for count in alike.values()),
    )


def rfc3339(time_unix_nano: int) -> str:
    """Return a time in UTC with nanoseconds, e.g. "2026-11-22T22:33:28.000000001Z".

    Args:
        time_unix_nano: nanoseconds since 1970 UTC.
    """
    seconds, nanos = divmod(time_unix_nano, _NANOS)
    return f"{_second(seconds)}.{nanos:09}Z"


def json_line(
    event: Event,
    time: str | float | None = None,
    *,
    keys: StreamKeys | None = None,
    types: DeclaredTypes | None = None,
) -> str:
    """Return an event as one line of JSON, without the line's end.

    Args:
        event: the event.
        time: what to show as its time; None for `rfc3339`.
        keys: what tells its stream from the others; None where one stream is read.
        types: the types that are declared, to tell two of one short name apart; None shows short names.
    """
    shown = rfc3339(event.time_unix_nano) if time is None else time
    line = {} if keys is None else keys.of(event)
    line["type"] = event.type if types is None else types.shown(event.full_name)
    line |= {"seq": event.seq, "time": shown, "data": event.data}
    try:
        return _encode(line)
    except (TypeError, ValueError):  # bytes, NaN or infinities: 0.1 us are saved where there are none
        line["data"] = json_ready(event.data)
        return _encode(line)


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds))
