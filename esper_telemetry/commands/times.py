"""Times as people ask for them, in and out."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from esper_telemetry.decode import rfc3339

TIME_FORMATS = ("utc", "local", "unix", "relative")
_NANOS = 1_000_000_000
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_LENGTH = re.compile(rf"(?:{_PART.pattern})+")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_WHOLE = 100
_CLOCK = re.compile(r"\d{1,2}:\d{2}")


@dataclass(frozen=True, slots=True)
class AfterStart:
    """A time that counts from the first event of what is read.

    Attributes:
        length_ns: how long after it, nanoseconds.
    """

    length_ns: int


@dataclass(frozen=True, slots=True)
class LastPart:
    """The end of what is read.

    Attributes:
        share: as a part of the time from the first event to the last, 0 to 1; None if a length is given.
        length_ns: as a length before the last event, nanoseconds.
    """

    share: float | None
    length_ns: int = 0

    def since(self, first_ns: int, last_ns: int) -> int:
        """Return the time at which the part begins, of a record from `first_ns` to `last_ns`."""
        if self.share is None:
            return last_ns - self.length_ns
        return last_ns - int((last_ns - first_ns) * self.share)


class Moment(click.ParamType["int | AfterStart"]):
    """A time on the command line: nanoseconds since 1970 UTC, or a time after the first event."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | AfterStart:
        """Read a date or time, a time of today, a length of time, or nanoseconds since 1970.

        ISO 8601 is UTC where it names no zone. A length such as 5m, 1h30m or 2d counts back from now, +5m counts from
        the first event.
        """
        if not isinstance(value, str):
            moment: int | AfterStart = value
            return moment
        if value.isdigit():
            return int(value)
        length = length_of(value.removeprefix("+"))
        if length is not None:
            return AfterStart(length) if value.startswith("+") else time.time_ns() - length
        day = _of_today(value)
        return self._iso(value, param, ctx) if day is None else day

    def _iso(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"{value!r} is no time; use 2026-11-22T22:33:28.5Z, 2026-11-22, 19:11 (today, UTC), yesterday,"
                " 5m or 1h30m (before now), +5m (after the first event), or nanoseconds since 1970",
                param,
                ctx,
            )
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.replace(microsecond=0).timestamp()) * _NANOS + moment.microsecond * 1000


class Part(click.ParamType[LastPart]):
    """The last part of a record on the command line: 10% of its time, or 5m."""

    name = "part"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> LastPart:
        """Read a share in percent or a length of time."""
        if isinstance(value, LastPart):
            return value
        length = length_of(value)
        if length is not None:
            return LastPart(None, length)
        share = _PERCENT.fullmatch(value)
        if share is None or not 0 < float(share[1]) <= _WHOLE:
            self.fail(f"{value!r} is no part; use 10% (of the time) or 5m", param, ctx)
        return LastPart(float(share[1]) / _WHOLE)


def length_of(text: str) -> int | None:
    """Return a length of time such as 5m, 1h30m, 90s or 2d in nanoseconds; None where it is none."""
    if not text or _LENGTH.fullmatch(text) is None:
        return None
    return sum(int(float(number) * _SECONDS[unit] * _NANOS) for number, unit in _PART.findall(text))


def _of_today(text: str) -> int | None:
    """Return midnight of today or yesterday, or a time of today such as 19:11; UTC, nanoseconds since 1970."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if text in ("today", "yesterday"):
        return int((today - timedelta(days=text == "yesterday")).timestamp()) * _NANOS
    if _CLOCK.fullmatch(text) is None:
        return None
    try:
        moment = datetime.combine(today.date(), datetime.strptime(text, "%H:%M").time(), UTC)  # noqa: DTZ007 - UTC is added
    except ValueError:
        return None
    return int(moment.timestamp()) * _NANOS


class TimeFormat:
    """Writes times in one of `TIME_FORMATS`.

    "utc" and "local" are RFC 3339 in JSON and shorter for people, "unix" is nanoseconds
    since 1970 in JSON and seconds for people, "relative" is seconds since the first time asked.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._first: int | None = None

    def json(self, time_unix_nano: int) -> str | int | float:
        """Return a time for JSON."""
        if self._name == "utc":
            return rfc3339(time_unix_nano)
        if self._name == "unix":
            return time_unix_nano
        if self._name == "relative":
            return self._since_first(time_unix_nano) / _NANOS
        local = datetime.fromtimestamp(time_unix_nano // _NANOS, UTC).astimezone().isoformat()
        return f"{local[:19]}.{time_unix_nano % _NANOS:09}{local[19:]}"

    def text(self, time_unix_nano: int) -> str:
        """Return a time for people, to the microsecond."""
        if self._name == "unix":
            return f"{time_unix_nano // _NANOS}.{time_unix_nano % _NANOS:09}"
        if self._name == "relative":
            return f"{self._since_first(time_unix_nano) / _NANOS:+14.6f} s"
        if self._name == "utc":
            return rfc3339(time_unix_nano)[:26].replace("T", " ")
        local = datetime.fromtimestamp(time_unix_nano // _NANOS, UTC).astimezone()
        return f"{local:%Y-%m-%d %H:%M:%S}.{time_unix_nano % _NANOS // 1000:06}"

    def _since_first(self, time_unix_nano: int) -> int:
        if self._first is None:
            self._first = time_unix_nano
        return time_unix_nano - self._first
