"""Event feed: the latest events with units and context; the same thing many times in a row is one row."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from esper_telemetry.schema import CONTEXT_FIELDS
from esper_telemetry.views.cell import Tone, number_text
from esper_telemetry.views.figure import Feed, FeedField, FeedRow
from esper_telemetry.views.panel import EVERY, Fold, Look, Panel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esper_telemetry.decode import Event
    from esper_telemetry.views.figure import Figure

KEPT = 2000
"""Events that are kept; older ones are read from the record."""

_LONGEST = 200
_MOST_FIELDS = 40
_BAD = {"telemetry.dropped", "governor.rolled_back", "governor.panicked", "ppo.anomaly_detected"}
_LIFE = ("run.", "seed.fossilized", "checkpoint.", "batch.trend_changed")


class EventFeed(Fold):
    """The latest events and the number of each type."""

    def __init__(self) -> None:
        self._kept: deque[Event] = deque(maxlen=KEPT)

    def add(self, event: Event) -> None:
        """Take any event."""
        self._kept.append(event)

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return the feed, the newest last."""
        if not self._kept:
            return ()
        rows: deque[FeedRow] = deque()
        for event in reversed(self._kept):
            row = feed_row(event, look.facts.stream_label(event.rank, event.attempt))
            after = rows[0] if rows else None
            if after is not None and (after.type, after.stream, _env(after)) == (row.type, row.stream, _env(row)):
                rows[0] = after._replace(repeats=after.repeats + 1)
                continue
            if len(rows) >= look.rows:
                break
            rows.appendleft(row)
        types: Counter[str] = Counter()
        for full_name, count in look.facts.counts.items():
            types[look.facts.names[full_name]] += count
        return (Feed("Events", tuple(rows), types.total(), tuple(types.most_common())),)

    def between(self, first_seq: int, last_seq: int, types: frozenset[str] | None = None) -> list[Event]:
        """Return kept events by their numbers; the record has those that are older."""
        return [
            event
            for event in self._kept
            if first_seq <= event.seq <= last_seq and (types is None or event.type in types)
        ]


def feed_row(event: Event, stream: str = "") -> FeedRow:
    """Return an event as a row: context and payload apart, each value as text with its unit."""
    data, hidden = event.data, event.hidden_context
    units = event.units
    context: list[FeedField] = []
    fields: list[FeedField] = []
    for name, value in _flat(data):
        base = name.partition(".")[0]
        place = context if base in CONTEXT_FIELDS and base not in hidden else fields
        if len(place) < _MOST_FIELDS:
            unit = "" if place is context else units.get(name) or units.get(base, "")
            place.append(FeedField(name, _text(value, unit), unit))
    tone = Tone.BAD if event.type in _BAD else Tone.GOOD if event.type.startswith(_LIFE) else Tone.PLAIN
    return FeedRow(event.seq, event.time_unix_nano, event.type, 1, tuple(context), tuple(fields), tone, stream)


def _env(row: FeedRow) -> str:
    return next((field.text for field in row.context if field.name == "env_id"), "")


def _flat(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for at, item in enumerate(value):
                key = str(item.get("head", item.get("metric", at))) if isinstance(item, dict) else str(at)
                yield from _flat(item, f"{prefix}{name}.{key}.")
        else:
            yield f"{prefix}{name}", value


def _text(value: Any, unit: str) -> str:
    if isinstance(value, (bool, int, float)):
        return number_text(value, unit)
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


PANEL = Panel(
    "feed",
    "Events",
    "What happened, in the order of the record.",
    {EVERY: (EVERY,)},
    EventFeed,
    always=True,
)
