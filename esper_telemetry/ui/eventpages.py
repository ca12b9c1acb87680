"""Events as a page asks for them: by type, environment, rank, number, time and text, as values for JSON."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from esper_telemetry.decode import Event, Filter, json_line, rfc3339
from esper_telemetry.schema import json_ready

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esper_telemetry.decode import Reference

MOST = 500
_USUAL = 100
_NANOS_OF_MS = 1_000_000
_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Wish:
    """What events a page asks for.

    Attributes:
        types: names, in which * and ? match anything; empty for all.
        envs: environments; empty for all.
        ranks: ranks; empty for all.
        text: what the JSON line of an event must contain, whatever the case; empty for anything.
        first_seq: first number; None from the start.
        last_seq: last number.
        until_ns: latest time, exclusive.
        most: how many to return, the last ones.
    """

    types: tuple[str, ...] = ()
    envs: frozenset[int] = frozenset()
    ranks: frozenset[int] = frozenset()
    text: str = ""
    first_seq: int | None = None
    last_seq: int | None = None
    until_ns: int | None = None
    most: int = _USUAL

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> Wish:
        """Read the query of an address: type, env, rank (comma-separated), text, first, last, until_ms, limit.

        Raises:
            ValueError: a number is none; it names the parameter.
        """
        until = _number(values, "until_ms")
        return cls(
            tuple(filter(None, values.get("type", "").split(","))),
            _numbers(values, "env"),
            _numbers(values, "rank"),
            values.get("text", "").casefold(),
            _number(values, "first"),
            _number(values, "last"),
            None if until is None else until * _NANOS_OF_MS,
            min(_number(values, "limit") or _USUAL, MOST),
        )

    def filter(self) -> Filter:
        """Return the part of it that a reader of records understands."""
        return Filter(
            types=self.types or None,
            envs=self.envs or None,
            ranks=self.ranks or None,
            until_ns=self.until_ns,
            first_seq=self.first_seq,
            last_seq=self.last_seq,
        )

    def wants(self, event: Event) -> bool:
        """Tell whether an event is wanted."""
        return (
            (not self.types or any(fnmatchcase(event.type, want) for want in self.types))
            and (not self.ranks or event.rank in self.ranks)
            and (self.first_seq is None or event.seq >= self.first_seq)
            and (self.last_seq is None or event.seq <= self.last_seq)
            and (self.until_ns is None or event.time_unix_nano < self.until_ns)
            and (not self.envs or event.data.get("env_id") in self.envs)
            and (not self.text or self.text in json_line(event).casefold())
        )


def event_document(event: Event) -> dict[str, Any]:
    """Return an event as values for JSON: numbers that a browser cannot hold are texts."""
    seq, row = event.position
    return {
        "seq": seq,
        "row": row,
        "rank": event.rank,
        "attempt": event.attempt,
        "stream": event.stream,
        "producer": event.producer_id.hex(),
        "type": event.type,
        "full_name": event.full_name,
        "time": rfc3339(event.time_unix_nano),
        "time_ms": event.time_unix_nano / _NANOS_OF_MS,
        "data": json_ready(event.data),
        "units": event.units,
    }


def reference_document(reference: Reference) -> dict[str, Any]:
    """Return what the types of a run mean: by type its comment, level and fields with unit, comment and range."""
    messages = {one.full_name: one for one in reference.messages.values()}
    context = messages.get("esper_telemetry.v1.Context")
    return {
        "events": {
            name: {
                "comment": event.message.comment,
                "level": event.level,
                "fields": {field.name: _field(field) for field in event.message.fields},
            }
            for name, event in reference.events.items()
        },
        "context": {field.name: _field(field) for field in (context.fields if context else ())},
    }


def _field(field: Any) -> dict[str, Any]:
    return {
        "type": field.type,
        "unit": field.unit,
        "comment": field.comment,
        "min": field.minimum,
        "max": field.maximum,
    }


def _number(values: Mapping[str, str], name: str) -> int | None:
    text = values.get(name, "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        raise ValueError(f"{name}={text[:40]!r} is no whole number; leave it out or give one")
    return int(text)


def _numbers(values: Mapping[str, str], name: str) -> frozenset[int]:
    return frozenset(
        number
        for text in values.get(name, "").split(",")
        if (number := _number({name: text.strip()}, name)) is not None
    )
