"""Counterfactuals: accuracy with a seed less accuracy without it, by slot, and why it is missing where it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esper_telemetry.views.axes import BY_EPOCH
from esper_telemetry.views.cell import Tone, measured, unavailable
from esper_telemetry.views.figure import Axis, Band, Table, TableColumn
from esper_telemetry.views.panel import Fold, Look, Panel
from esper_telemetry.views.plots import env_label
from esper_telemetry.views.quantiles import Sample
from esper_telemetry.views.tracks import Tracks

if TYPE_CHECKING:
    from esper_telemetry.decode import Event
    from esper_telemetry.views.figure import Figure

COMPUTED = "counterfactual.computed"
_KEPT = 1.0


@dataclass(slots=True)
class SlotContributions:
    """Measurements of one slot over all environments."""

    sample: Sample = field(default_factory=Sample)
    missing: Counter[str] = field(default_factory=Counter)
    positive: int = 0
    last: tuple[float, int] | None = None


class Contributions(Fold):
    """Series by slot, a line for each environment, and counts of reasons."""

    def __init__(self) -> None:
        self._tracks: dict[str, Tracks] = {}
        self._slots: dict[str, SlotContributions] = {}

    def add(self, event: Event) -> None:
        """Take one counterfactual, or the fact that it could not be measured."""
        data = event.data
        slot = str(data.get("slot_id", ""))
        known = self._slots.get(slot)
        if known is None:
            known, self._tracks[slot] = SlotContributions(), Tracks(BY_EPOCH)
            self._slots[slot] = known
        value, reason = data.get("contribution"), data.get("reason", "no reason given")
        if not data.get("available"):
            value = None
        if value is None:
            known.missing[str(reason)] += 1
        else:
            known.sample.add(value)
            known.positive += value > 0
            known.last = value, event.seq
        self._tracks[slot].add(event, data, {"contribution": value}, env_label(data))

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return the table of slots, then a series for each."""
        if not self._slots:
            return ()
        reasons = list(dict.fromkeys(reason for slot in self._slots.values() for reason in slot.missing))
        rows = []
        for name, slot in self._slots.items():
            count = slot.sample.count
            rows.append(
                (
                    measured(name),
                    measured(count),
                    measured(slot.sample.text) if count else unavailable("never measured"),
                    measured(100 * slot.positive / count if count else None, "%"),
                    measured(slot.last[0], "%", seq=slot.last[1]) if slot.last else unavailable("never measured"),
                    *(measured(slot.missing[reason]) for reason in reasons),
                )
            )
        columns = (
            TableColumn("slot"),
            TableColumn("measured", numeric=True),
            TableColumn("contribution", "%", "Median and quartiles, in points", numeric=True),
            TableColumn("above 0", "%", "Share of the measurements", numeric=True),
            TableColumn("last", "%", "", numeric=True),
            *(
                TableColumn(reason.replace("_", " "), text="Not measured for this reason", numeric=True)
                for reason in reasons
            ),
        )
        text = "How much the host has come to depend on a seed, not the benefit of having grown it."
        found: list[Figure] = [Table("Counterfactuals by slot", columns, tuple(rows), explanation=text)]
        bands = (Band(_KEPT, None, Tone.GOOD, "1 point or more: what gate G5 asks for"),)
        for name, tracks in self._tracks.items():
            axis = Axis("contribution", "%")
            found += tracks.series("contribution", look, axis, title=f"Contribution of slot {name}", bands=bands)
        return tuple(found)


PANEL = Panel(
    "contributions",
    "Counterfactuals",
    "Slots whose seeds the host does not depend on, and measurements that are missing.",
    {COMPUTED: ("slot_id", "available", "reason", "contribution", "env_id")},
    Contributions,
)
