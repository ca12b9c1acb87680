"""Where the time goes: step time, waiting for data, updates, and the phases that the program has named."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esper_telemetry.views.axes import BY_BATCH
from esper_telemetry.views.cell import Tone, measured
from esper_telemetry.views.figure import Table, TableColumn
from esper_telemetry.views.panel import Fold, Look, Panel
from esper_telemetry.views.plots import Plot, Plots, reads_of

if TYPE_CHECKING:
    from esper_telemetry.decode import Event
    from esper_telemetry.views.figure import Figure

PHASE = "phase.timed"
_PLOTS = (
    Plot("perf.throughput", "fps", "samples per second", "{sample}/s", 0, order=BY_BATCH),
    Plot("perf.throughput", "step_time_ms", "time of a step", "ms", 0, order=BY_BATCH, text="A mean over its steps."),
    Plot("perf.throughput", "dataloader_wait_ms", "waiting for data, per step", "ms", 0, order=BY_BATCH),
    Plot("batch.completed", "batch_time_ms", "time of a batch", "ms", 0, order=BY_BATCH),
    Plot("ppo.update_completed", "update_time_ms", "time of an update", "ms", 0, order=BY_BATCH),
    Plot("epoch.completed", "epoch_time_ms", "time of an epoch", "ms", 0),
)


@dataclass(slots=True)
class _Phase:
    """Times of one phase."""

    count: int = 0
    total_ms: float = 0.0
    least_ms: float = math.inf
    most_ms: float = -math.inf
    most_seq: int = 0
    failed: int = 0
    unmeasured: int = 0


class Throughput(Fold):
    """Series of times, and a table of phases."""

    def __init__(self) -> None:
        self._plots = Plots(_PLOTS)
        self._phases: dict[str, _Phase] = {}

    def add(self, event: Event) -> None:
        """Take the times of an event."""
        if event.type != PHASE:
            self._plots.add(event)
            return
        data = event.data
        name = str(data.get("phase", ""))
        phase = self._phases.get(name)
        if phase is None:
            phase = self._phases[name] = _Phase()
        phase.count += 1
        phase.failed += bool(data.get("failed"))
        duration = data.get("duration_ms")
        if duration is None:
            phase.unmeasured += 1
            return
        phase.total_ms += duration
        phase.least_ms = min(phase.least_ms, duration)
        if duration > phase.most_ms:
            phase.most_ms, phase.most_seq = duration, event.seq

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return the table of phases, then the series."""
        table = (self._table(look),) if self._phases else ()
        return (*table, *self._plots.figures(look))

    def _table(self, look: Look) -> Table:
        # A phase inside another one is named "outer/inner"; shares are of the outermost ones, which do not overlap.
        whole = sum(phase.total_ms for name, phase in self._phases.items() if "/" not in name)
        ordered = sorted(self._phases.items(), key=lambda one: -one[1].total_ms)
        rows = []
        for name, phase in ordered[: look.rows]:
            timed = phase.count - phase.unmeasured
            share = 100 * phase.total_ms / whole if whole else None
            rows.append(
                (
                    measured(name),
                    measured(phase.count),
                    measured(phase.total_ms, "ms"),
                    measured(share, "%", reason="of the outermost phases" if share is not None else "no outer phase"),
                    measured(phase.total_ms / timed if timed else None, "ms"),
                    measured(phase.least_ms if timed else None, "ms"),
                    measured(phase.most_ms if timed else None, "ms", seq=phase.most_seq or None),
                    measured(phase.failed, tone=Tone.BAD if phase.failed else Tone.PLAIN),
                )
            )
        columns = (
            TableColumn("phase", text="Names of the phases around it and its own"),
            TableColumn("times", "1", "How often it ran", numeric=True),
            TableColumn("total", "ms", "Wall time, phases inside it included", numeric=True),
            TableColumn("share", "%", "Of the outermost phases together", numeric=True),
            TableColumn("mean", "ms", "", numeric=True),
            TableColumn("least", "ms", "", numeric=True),
            TableColumn("most", "ms", "", numeric=True),
            TableColumn("failed", "1", "Times that an exception ended it", numeric=True),
        )
        hidden = max(0, len(ordered) - look.rows)
        return Table("Phases", columns, tuple(rows), hidden=hidden)


PANEL = Panel(
    "throughput",
    "Time",
    "Waiting for data next to the time of a step, and one environment that is slower than the others.",
    {**reads_of(_PLOTS), PHASE: ("phase", "duration_ms", "failed")},
    Throughput,
    level="minimal",
)
