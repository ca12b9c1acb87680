"""Health of the record itself: what each type costs, how often it comes, and which stream has told what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from esper_telemetry.views.cell import Tone, measured, not_recorded, unavailable
from esper_telemetry.views.figure import Table, TableColumn
from esper_telemetry.views.panel import EVERY, Fold, Look, Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.decode import Event
    from esper_telemetry.views.cell import Cell
    from esper_telemetry.views.figure import Figure

_NANOS = 1e9
_MOST_TYPES = 512


@dataclass(slots=True)
class TypeCost:
    """Events and bytes of one type."""

    name: str
    events: int = 0
    size: int = 0
    first_ns: int = 0
    last_ns: int = 0


class RecordHealth(Fold):
    """Costs by type and numbers by stream."""

    def __init__(self) -> None:
        self._types: dict[str, TypeCost] = {}
        self.declared: frozenset[str] = frozenset()

    def add(self, event: Event) -> None:
        """Take any event."""
        cost = self._types.get(event.full_name)
        time_ns = event.time_unix_nano
        if cost is None:
            if len(self._types) >= _MOST_TYPES:
                return
            cost = self._types[event.full_name] = TypeCost(event.type, first_ns=time_ns)
        cost.events += 1
        cost.size += event.size
        cost.last_ns = time_ns

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return types by their bytes, then the streams."""
        found: list[Figure] = [self._by_type()] if self._types else []
        streams = look.facts.numbering.streams
        if streams:
            found.append(_by_stream(look))
        if look.facts.absent:
            found.append(_absent(look.facts.absent))
        return tuple(found)

    def _by_type(self) -> Table:
        total = sum(cost.size for cost in self._types.values()) or 1
        ordered = sorted(self._types.values(), key=lambda cost: -cost.size)
        rows = []
        for cost in ordered:
            seconds = (cost.last_ns - cost.first_ns) / _NANOS
            rate = (
                measured((cost.events - 1) / seconds, "/s")
                if seconds > 0 and cost.events > 1
                else unavailable("fewer than two events at different times")
            )
            rows.append(
                (
                    measured(cost.name),
                    measured(cost.events),
                    measured(cost.size, "By"),
                    measured(100 * cost.size / total, "%"),
                    measured(cost.size / cost.events, "By"),
                    rate,
                )
            )
        columns = (
            TableColumn("type"),
            TableColumn("events", text="Rows of a block count one each", numeric=True),
            TableColumn("bytes", "By", "Before compression, as they lay in the file when it was read", numeric=True),
            TableColumn("share", "%", "", numeric=True),
            TableColumn("each", "By", "", numeric=True),
            TableColumn("per second", text="Between the first and the last one", numeric=True),
        )
        absent = sorted(self.declared - {cost.name for cost in self._types.values()})
        text = f"Declared and never emitted: {', '.join(absent)}." if absent else ""
        return Table("Events by type", columns, tuple(rows), explanation=text)


def _by_stream(look: Look) -> Table:
    numbering = look.facts.numbering
    ordered = sorted(numbering.streams.values(), key=lambda one: (one.attempt, one.rank, one.stream, one.first))
    rows: list[tuple[Cell, ...]] = []
    for one in ordered[: look.rows]:
        missing = (
            not_recorded("a filter left events out")
            if numbering.partial
            else measured(one.missing, tone=Tone.BAD if one.missing else Tone.GOOD)
        )
        ended = measured("yes", tone=Tone.GOOD) if one.finished else measured("no", tone=Tone.WARNING)
        rows.append(
            (
                measured(one.stream or "main"),
                measured(one.rank),
                measured(one.attempt),
                measured(one.events),
                measured(f"{one.first:,} to {one.last:,}"),
                missing,
                ended,
            )
        )
    columns = (
        TableColumn("stream"),
        TableColumn("rank", numeric=True),
        TableColumn("attempt", numeric=True),
        TableColumn("events", numeric=True),
        TableColumn("sequence numbers", numeric=True),
        TableColumn("missing", numeric=True),
        TableColumn("told its end"),
    )
    return Table("Streams", columns, tuple(rows), hidden=len(ordered) - len(rows))


def _absent(panels: Sequence[tuple[str, str]]) -> Table:
    """Return which panels are missing and why: a panel that is not there must not pass for one without findings."""
    rows = tuple((measured(title), measured(reason, tone=Tone.MUTED)) for title, reason in panels)
    return Table("Panels that are not shown", (TableColumn("panel"), TableColumn("why")), rows)


PANEL = Panel(
    "health",
    "Record health",
    "What the record costs, and whether every process has told its end.",
    {EVERY: (EVERY,)},
    RecordHealth,
    always=True,
)
