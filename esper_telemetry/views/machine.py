"""What the training process takes of its machine: memory, processors, files, accelerators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.views.axes import BY_TIME
from esper_telemetry.views.figure import Axis
from esper_telemetry.views.panel import Fold, Look, Panel
from esper_telemetry.views.tracks import Tracks

if TYPE_CHECKING:
    from esper_telemetry.decode import Event
    from esper_telemetry.views.figure import Figure

# Field, title, unit, upper end of the axis.
_PROCESS: tuple[tuple[str, str, str, float | None], ...] = (
    ("rss_bytes", "resident memory", "By", None),
    ("children_rss_bytes", "memory of child processes", "By", None),
    ("cpu_percent", "processor time (100 % is one CPU)", "%", None),
    ("host_available_bytes", "memory that the machine has left", "By", None),
    ("host_load_1m", "load of the machine", "1", None),
    ("threads", "threads", "{thread}", None),
    ("open_files", "open files", "{file}", None),
    ("children", "child processes", "{process}", None),
)
_ACCELERATOR: tuple[tuple[str, str, str, float | None], ...] = (
    ("memory_used_bytes", "accelerator memory", "By", None),
    ("utilization_percent", "accelerator utilisation", "%", 100),
    ("temperature_celsius", "accelerator temperature", "Cel", None),
    ("power_w", "accelerator power", "W", None),
)


class Machine(Fold):
    """Series of system.sampled over time."""

    def __init__(self) -> None:
        self._process = Tracks(BY_TIME)
        self._accelerators = Tracks(BY_TIME)

    def add(self, event: Event) -> None:
        """Take a sample."""
        data = event.data
        self._process.add(event, data, {name: data.get(name) for name, *_ in _PROCESS})
        for sample in data.get("accelerators", ()):
            values = {name: sample.get(name) for name, *_ in _ACCELERATOR}
            self._accelerators.add(event, data, values, _name_of(sample))

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return a series for each quantity that was ever measured."""
        found: list[Figure] = []
        for tracks, rows in ((self._process, _PROCESS), (self._accelerators, _ACCELERATOR)):
            for name, title, unit, high in rows:
                found += tracks.series(name, look, Axis(title, unit, 0, high))
        return tuple(found)


def _name_of(sample: dict[str, Any]) -> str:
    index, uuid = sample.get("index"), sample.get("uuid")
    return f"accelerator {index}" if index is not None else f"accelerator {uuid or 'without a name'}"[:32]


PANEL = Panel(
    "machine",
    "Machine",
    "Memory that only rises, and an accelerator that waits.",
    {
        "system.sampled": (
            *(name for name, *_ in _PROCESS),
            "accelerators.index",
            "accelerators.uuid",
            *(f"accelerators.{name}" for name, *_ in _ACCELERATOR),
        )
    },
    Machine,
)
