"""An event as a line of text: what a person reads in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from esper_telemetry.commands.output import printable
from esper_telemetry.decode import StreamKeys
from esper_telemetry.v1 import context_pb2

if TYPE_CHECKING:
    from esper_telemetry.commands.times import TimeFormat
    from esper_telemetry.decode import DeclaredTypes, Event

_CONTEXT = frozenset(context_pb2.Context.DESCRIPTOR.fields_by_name)
_PLAIN_WORD = frozenset("_-./:+")


class EventText:
    """Writes events as lines: time, number, type, [context], fields.

    Args:
        times: how times are written.
        color: use colours.
        keys: what tells its stream from the others, as numbers count within one stream only: the rank is put before
            the number, as in r1#7, the attempt if it is not the first, as in r1a2#7, and the name of the stream,
            as in worker:r1#7; a line begins with the run where there are several.
        types: the types that are declared, to tell two of one short name apart; None shows short names.
    """

    def __init__(
        self, times: TimeFormat, *, color: bool, keys: StreamKeys | None = None, types: DeclaredTypes | None = None
    ) -> None:
        self._times = times
        self._color = color
        self._keys = keys or StreamKeys()
        self._types = types

    def line(self, event: Event) -> str:
        """Return the line of an event, without its end."""
        data, units = event.data, event.units
        hidden = event.hidden_context
        context = [f"{name}={_shown(value)}" for name, value in data.items() if name in _CONTEXT and name not in hidden]
        fields = [
            f"{name}={_shown(value)}{_unit(name, units.get(name, ''))}"
            for name, value in data.items()
            if name not in _CONTEXT or name in hidden
        ]
        time = self._times.text(event.time_unix_nano)
        name = event.type if self._types is None else self._types.shown(event.full_name)
        run = _shown(event.run_id) if self._keys.run else ""
        place = f"[{' '.join(context)}]" if context else ""
        name, place, shown = printable(name), printable(place), printable(" ".join(fields))
        if self._color:
            time, name, place = click.style(time, dim=True), click.style(name, fg="cyan"), click.style(place, dim=True)
        parts = (run, time, self._number(event), name, place, shown)
        return "  ".join(part for part in parts if part)

    def _number(self, event: Event) -> str:
        keys = self._keys
        stream = _shown(event.stream) if keys.stream else ""
        if keys.producer:
            stream += f"-{event.producer_id[:4].hex()}"
        rank = f"r{event.rank}" if keys.rank or keys.attempt else ""
        attempt = f"a{event.attempt}" if rank and event.attempt > 1 else ""
        return f"{stream}{':' if stream else ''}{rank}{attempt}#{event.seq}"


def _unit(name: str, unit: str) -> str:
    """Return a unit to put behind a value.

    Pure numbers and counts of named things need none, and `update_time_ms` states it already.
    """
    if unit in ("", "1") or (unit.startswith("{") and unit.endswith("}")) or name.endswith(f"_{unit}"):
        return ""
    return unit.replace("{", "").replace("}", "")


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value if value and all(c.isalnum() or c in _PLAIN_WORD for c in value) else repr(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_shown_key(key)}: {_shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return _shown_scalar(value)


def _shown_key(key: Any) -> str:
    return _shown_scalar(key) if isinstance(key, bool) else str(key)


def _shown_scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"<{len(value):,} bytes>" if isinstance(value, bytes) else str(value)
