"""Fates of seeds by blueprint: how many came how far, how long they lived, what they contributed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esper_telemetry.views.cell import Cell, measured, not_yet
from esper_telemetry.views.figure import Table, TableColumn
from esper_telemetry.views.panel import Fold, Look, Panel
from esper_telemetry.views.quantiles import Sample

if TYPE_CHECKING:
    from esper_telemetry.decode import Event
    from esper_telemetry.views.figure import Figure


@dataclass(slots=True)
class BlueprintFates:
    """What became of the seeds of one blueprint."""

    germinated: int = 0
    blended: int = 0
    fossilized: int = 0
    culled: Counter[str] = field(default_factory=Counter)
    lifespans: Sample = field(default_factory=Sample)
    contributions: Sample = field(default_factory=Sample)


class SeedFates(Fold):
    """Counts by blueprint over the run."""

    def __init__(self) -> None:
        self._blueprints: dict[str, BlueprintFates] = {}

    def add(self, event: Event) -> None:
        """Take an event of a seed's life."""
        data = event.data
        fates = self._blueprints.setdefault(str(data.get("blueprint_id", "")), BlueprintFates())
        if event.type == "seed.germinated":
            fates.germinated += 1
        elif event.type == "seed.stage_changed":
            fates.blended += data.get("to_stage") == "BLENDING"
        else:
            if event.type == "seed.fossilized":
                fates.fossilized += 1
            else:
                fates.culled[str(data.get("reason", "no reason"))] += 1
            if "epochs_total" in data:
                fates.lifespans.add(data["epochs_total"])
            if "contribution" in data:
                fates.contributions.add(data["contribution"])

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return one row for each blueprint."""
        known = {name: fates for name, fates in self._blueprints.items() if fates.germinated or fates.culled.total()}
        if not known:
            return ()
        rows = [
            (
                measured(name or "not recorded"),
                measured(fates.germinated),
                measured(fates.blended),
                measured(fates.fossilized),
                measured(fates.culled.total()),
                measured(", ".join(f"{reason} {count}" for reason, count in fates.culled.most_common()) or "none"),
                _spread(fates.lifespans, "{epoch}"),
                _spread(fates.contributions, "%"),
            )
            for name, fates in sorted(known.items(), key=lambda one: (-one[1].germinated, one[0]))
        ]
        columns = (
            TableColumn("blueprint"),
            TableColumn("planted", numeric=True),
            TableColumn("blended", text="Reached BLENDING", numeric=True),
            TableColumn("kept", text="Fossilized", numeric=True),
            TableColumn("discarded", text="Culled", numeric=True),
            TableColumn("why discarded"),
            TableColumn("life", "{epoch}", "Median and quartiles of the epochs from planting to fate", numeric=True),
            TableColumn("contribution", "%", "Median and quartiles of the last measured counterfactual", numeric=True),
        )
        text = "A contribution is how much the host has come to depend on a seed, not the benefit of having grown it."
        return (Table("Fates by blueprint", columns, tuple(rows[: look.rows]), explanation=text),)


def _spread(sample: Sample, unit: str) -> Cell:
    if not sample.count:
        return not_yet("no seed of this blueprint has ended with a measurement")
    return measured(sample.text, reason=f"{sample.count} seeds, in {unit.strip('{}')}")


PANEL = Panel(
    "fates",
    "Fates of seeds",
    "Which blueprints are kept, and why the others are discarded.",
    {
        "seed.germinated": ("blueprint_id",),
        "seed.stage_changed": ("blueprint_id", "to_stage"),
        "seed.fossilized": ("blueprint_id", "epochs_total", "contribution"),
        "seed.culled": ("blueprint_id", "reason", "epochs_total", "contribution"),
    },
    SeedFates,
    level="lifecycle",
)
