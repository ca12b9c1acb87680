"""An event as a line of text: what a person reads in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from esper_telemetry.v1 import context_pb2

if TYPE_CHECKING:
    from esper_telemetry.commands.times import TimeFormat
    from esper_telemetry.decode import Event

_CONTEXT = frozenset(context_pb2.Context.DESCRIPTOR.fields_by_name)
_PLAIN_WORD = frozenset("_-./:+")


class EventText:
    """Writes events as lines: time, number, type, [context], fields.

    Args:
        times: how times are written.
        color: use colours.
        ranks: put the rank before the number, as in r1#7, and the attempt if it is not the first, as in r1a2#7:
            numbers count within one stream only.
    """

    def __init__(self, times: TimeFormat, *, color: bool, ranks: bool) -> None:
        self._times = times
        self._color = color
        self._ranks = ranks

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
        time, name = self._times.text(event.time_unix_nano), event.type
        number = f"#{event.seq}"
        if self._ranks:
            number = f"r{event.rank}{f'a{event.attempt}' if event.attempt > 1 else ''}{number}"
        place = f"[{' '.join(context)}]" if context else ""
        if self._color:
            time, name, place = click.style(time, dim=True), click.style(name, fg="cyan"), click.style(place, dim=True)
        return "  ".join(part for part in (time, number, name, place, " ".join(fields)) if part)


def _unit(name: str, unit: str) -> str:
    """Return a unit to put behind a value.

    Pure numbers and counts of named things need none, and `update_time_ms` has said it already.
    """
    if unit in ("", "1") or (unit.startswith("{") and unit.endswith("}")) or name.endswith(f"_{unit}"):
        return ""
    return unit.replace("{", "").replace("}", "")


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value if value and all(c.isalnum() or c in _PLAIN_WORD for c in value) else repr(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return _shown_scalar(value)


def _shown_scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"<{len(value):,} bytes>" if isinstance(value, bytes) else str(value)
