"""Times as people ask for them, in and out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from esper_telemetry.decode import rfc3339

TIME_FORMATS = ("utc", "local", "unix", "relative")
_NANOS = 1_000_000_000


class Moment(click.ParamType[int]):
    """A time on the command line, as nanoseconds since 1970 UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read an ISO 8601 date or time (UTC where it names no zone), or nanoseconds since 1970."""
        if isinstance(value, int):
            return value
        if value.isdigit():
            return int(value)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"{value!r} is no time; use 2026-11-22T22:33:28.5Z, 2026-11-22, or nanoseconds since 1970", param, ctx
            )
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.replace(microsecond=0).timestamp()) * _NANOS + moment.microsecond * 1000


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
