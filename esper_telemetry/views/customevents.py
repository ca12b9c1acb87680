"""Events of other packages: each measurement that their schema declares, with its unit, as a series.

What the schema calls a key tells lines apart; what it calls a gauge, a delta or a running total is drawn. A view
never guesses at the meaning of a field that its schema does not annotate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.schema import CONTEXT_FIELDS
from esper_telemetry.v1 import options_pb2
from esper_telemetry.views.axes import BY_STEP
from esper_telemetry.views.figure import Axis
from esper_telemetry.views.panel import EVERY, FOREIGN, Fold, Look, Panel
from esper_telemetry.views.plots import env_label
from esper_telemetry.views.tracks import Tracks

if TYPE_CHECKING:
    from esper_telemetry.decode import Event
    from esper_telemetry.views.figure import Figure

MOST_TYPES = 32
MOST_LABELS = 24
_LONGEST = 40
_DRAWN = {options_pb2.KIND_GAUGE, options_pb2.KIND_DELTA, options_pb2.KIND_CUMULATIVE}


class _Kind:
    """What is drawn of one type: what its schema declares as a measurement, and floats of which it declares nothing."""

    def __init__(self, event: Event) -> None:
        metas = event.metas
        hidden = event.hidden_context
        own = {name: meta for name, meta in metas.items() if "." not in name}
        self.measurements = {
            name: (meta.unit, meta.max if meta.HasField("max") else None)
            for name, meta in own.items()
            if meta.kind in _DRAWN and (name not in CONTEXT_FIELDS or name in hidden)
        }
        self.declared = {*CONTEXT_FIELDS, *own}
        self.keys = [
            name for name, meta in own.items() if meta.kind == options_pb2.KIND_KEY and name not in CONTEXT_FIELDS
        ]
        self.tracks = Tracks(BY_STEP)
        self.labels: set[str] = set()
        self.left_out = 0

    def label(self, data: dict[str, Any]) -> str | None:
        """Return what tells the line of an event apart; None beyond the bound of lines."""
        texts = [str(data[name])[:_LONGEST] for name in self.keys if isinstance(data.get(name), (str, bool))]
        label = " ".join([*texts, *filter(None, [env_label(data)])])
        if label in self.labels or len(self.labels) < MOST_LABELS:
            self.labels.add(label)
            return label
        self.left_out += 1
        return None


class CustomEvents(Fold):
    """Series by type and field."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[str, _Kind]] = {}

    def add(self, event: Event) -> None:
        """Take an event of another package."""
        data = event.data
        known = self._kinds.get(event.full_name)
        if known is None:
            if len(self._kinds) >= MOST_TYPES:
                return
            known = self._kinds[event.full_name] = event.type, _Kind(event)
        kind = known[1]
        label = kind.label(data)
        if label is not None:
            for name, value in data.items():
                if isinstance(value, float) and name not in kind.declared:  # whole numbers may be names: ids, counts
                    kind.declared.add(name)
                    kind.measurements[name] = "", None
            values = {name: _number(data.get(name)) for name in kind.measurements}
            kind.tracks.add(event, data, values, label)

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return a series for each measurement."""
        found: list[Figure] = []
        for name, kind in self._kinds.values():
            text = f"{kind.left_out:,} events of further lines are not drawn." if kind.left_out else ""
            for field, (unit, high) in kind.measurements.items():
                axis = Axis(field.replace("_", " "), unit, None, high)
                found += kind.tracks.series(field, look, axis, title=f"{name}: {axis.label}", explanation=text)
        return tuple(found)


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


PANEL = Panel(
    "custom",
    "Events of other packages",
    "What other packages record of themselves, with the units that their schema declares.",
    {FOREIGN: (EVERY,)},
    CustomEvents,
)
