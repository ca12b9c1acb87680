"""Panels that are a table of plots: one series for each measured field, one line for each environment or part.

The table of plots is also the panel's declaration of the fields it reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from esper_telemetry.views.axes import BY_EPOCH
from esper_telemetry.views.figure import Axis, Band
from esper_telemetry.views.panel import Fold, Look
from esper_telemetry.views.tracks import Tracks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from esper_telemetry.decode import Event
    from esper_telemetry.views.axes import XKind
    from esper_telemetry.views.figure import Figure


@dataclass(frozen=True, slots=True)
class Plot:
    """One measured field as a series.

    Attributes:
        type: short name of the event type.
        field: the field.
        title: what is shown.
        unit: UCUM unit.
        low: lower end of the axis; None leaves it to the data.
        high: upper end.
        bands: stretches with a meaning.
        text: how to read it.
        order: which counters place the event.
    """

    type: str
    field: str
    title: str
    unit: str = "1"
    low: float | None = None
    high: float | None = None
    bands: tuple[Band, ...] = ()
    text: str = ""
    order: Sequence[XKind] = BY_EPOCH


def env_label(data: Mapping[str, Any]) -> str:
    """Return the environment of an event as a label; "" where it names none."""
    env = data.get("env_id")
    return "" if env is None else f"env {env}"


def reads_of(plots: Sequence[Plot], *more: str) -> dict[str, tuple[str, ...]]:
    """Return the fields that plots read, by event type; `more` are fields that each type is read for besides."""
    reads: dict[str, tuple[str, ...]] = {}
    for plot in plots:
        reads[plot.type] = (*reads.get(plot.type, more), plot.field)
    return reads


class Plots(Fold):
    """The state of a table of plots.

    Args:
        plots: what is shown.
        label: what tells the lines of a plot apart.
    """

    def __init__(self, plots: Sequence[Plot], label: Callable[[Mapping[str, Any]], str] = env_label) -> None:
        self._plots = plots
        self._label = label
        self._tracks: dict[str, Tracks] = {}
        self._fields: dict[str, list[str]] = {}
        for plot in plots:
            self._fields.setdefault(plot.type, []).append(plot.field)
            self._tracks.setdefault(plot.type, Tracks(plot.order))

    def add(self, event: Event) -> None:
        """Take the measurements of an event."""
        data = event.data
        values = {field: data.get(field) for field in self._fields[event.type]}
        self._tracks[event.type].add(event, data, values, self._label(data))

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return a series for each plot that was ever measured."""
        found: list[Figure] = []
        for plot in self._plots:
            axis = Axis(plot.title, plot.unit, plot.low, plot.high)
            tracks = self._tracks[plot.type]
            found += tracks.series(plot.field, look, axis, bands=plot.bands, explanation=plot.text)
        return tuple(found)
