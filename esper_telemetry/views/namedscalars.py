"""Values that a trainer names itself: one series for each name, grouped by the part before the last slash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.views.axes import BY_STEP
from esper_telemetry.views.figure import Axis, Series
from esper_telemetry.views.panel import Fold, Look, Panel
from esper_telemetry.views.plots import env_label
from esper_telemetry.views.tracks import Tracks

if TYPE_CHECKING:
    from esper_telemetry.decode import Event
    from esper_telemetry.views.figure import Figure

MOST_NAMES = 256
"""Names that are kept; a program that makes up a name for each step must not take all memory."""


class NamedScalars(Fold):
    """Series by name."""

    def __init__(self) -> None:
        self._tracks = Tracks(BY_STEP)
        self._units: dict[str, str] = {}
        self._spreads: dict[str, bool] = {}
        self.left_out: set[str] = set()

    def add(self, event: Event) -> None:
        """Take named values."""
        data = event.data
        if event.type == "scalars.logged":
            values: dict[str, Any] = data.get("scalars", {})
            for name, value in values.items():
                self._take(event, data, name, value)
        elif event.type == "scalar.logged":
            self._take(event, data, str(data.get("name", "")), data.get("value"), str(data.get("unit", "1")))
        else:
            self._take(event, data, str(data.get("name", "")), data.get("mean"), spread=True)

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return a series for each name, in the order of the names."""
        found: list[Series] = []
        for name in sorted(self._units, key=_order):
            text = "Mean of the values of each batch, as the device summed them." if self._spreads.get(name) else ""
            found += self._tracks.series(name, look, Axis(name, self._units[name]), explanation=text)
        return tuple(found)

    def _take(
        self,
        event: Event,
        data: dict[str, Any],
        name: str,
        value: float | None,
        unit: str = "1",
        *,
        spread: bool = False,
    ) -> None:
        if name not in self._units:
            if len(self._units) >= MOST_NAMES:
                if len(self.left_out) < MOST_NAMES:
                    self.left_out.add(name)
                return
            self._units[name] = unit
            self._spreads[name] = spread
        self._tracks.add(event, data, {name: value}, env_label(data))


def _order(name: str) -> tuple[str, str]:
    group, _, rest = name.rpartition("/")
    return group, rest


PANEL = Panel(
    "scalars",
    "Named values",
    "What the program logged under names of its own.",
    {
        "scalar.logged": ("name", "value", "step", "unit", "env_id"),
        "scalars.logged": ("scalars", "step", "env_id"),
        "scalar.summarized": ("name", "mean", "env_id"),
    },
    NamedScalars,
)
