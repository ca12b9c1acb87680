"""What the reward is made of: signed sums of each component by batch, checked against the total that is recorded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from esper_telemetry.views.axes import XKind, x_axis
from esper_telemetry.views.batches import BatchTable, batch_gaps
from esper_telemetry.views.cell import Tone, measured, unavailable
from esper_telemetry.views.figure import Stack, Table, TableColumn
from esper_telemetry.views.panel import Fold, Look, Panel

if TYPE_CHECKING:
    from esper_telemetry.decode import Event
    from esper_telemetry.views.figure import Figure

SUMMARY = "reward.summary"
TOTAL = "total_reward"
TOLERANCE = 1e-6
"""Relative difference of sum and total that rounding explains: components are summed in double precision."""

_MOST_BARS = 120


class RewardParts(Fold):
    """Sums by component: over all environments by batch, and over the run by environment."""

    def __init__(self) -> None:
        self._table = BatchTable()
        self._environments: dict[tuple[int, int], dict[str, float]] = {}
        self._worst: tuple[float, int] | None = None
        self.mismatches = 0
        self.checked = 0

    def add(self, event: Event) -> None:
        """Take the sums of an environment over a batch."""
        data = event.data
        parts: dict[str, float] = data.get("summary", {})
        env = data.get("env_id")
        self._table.add(event, data.get("batch_idx", 0), "all" if env is None else str(env), parts)
        sums = self._environments.setdefault((event.rank, -1 if env is None else env), {})
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + value
        if TOTAL in parts:
            self._check(parts, event.seq)

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return the components by batch, then by environment."""
        if not len(self._table):
            return ()
        names = [name for name in self._table.names if name != TOTAL] or [TOTAL]
        stretches = self._table.stretches(_MOST_BARS, look)
        stack = Stack(
            "Reward by component, over all environments",
            x_axis(XKind.BATCH),
            "1",
            tuple(names),
            tuple(float(one.first) for one in stretches),
            tuple(tuple(one.counts.get(name) for name in names) for one in stretches),
            seqs=tuple(one.seq for one in stretches),
            gaps=tuple(batch_gaps(stretches, self._table.full_name, look)),
            explanation=self._told(),
        )
        return (stack, self._by_environment(names, look))

    def _check(self, parts: dict[str, Any], seq: int) -> None:
        total = parts[TOTAL]
        whole = math.fsum(value for name, value in parts.items() if name != TOTAL and math.isfinite(value))
        self.checked += 1
        size = max(1.0, *(abs(value) for value in parts.values() if math.isfinite(value)), abs(whole))
        difference = abs(whole - total)
        if not difference <= TOLERANCE * size:  # a NaN total is a mismatch too
            self.mismatches += 1
            if self._worst is None or difference > self._worst[0]:
                self._worst = difference, seq

    def _told(self) -> str:
        if not self.checked:
            return f"No {TOTAL} is recorded, so the sum of the components could not be checked."
        if not self.mismatches:
            return f"The components of all {self.checked:,} summaries add up to their {TOTAL}."
        difference, seq = self._worst or (math.nan, 0)
        return (
            f"In {self.mismatches:,} of {self.checked:,} summaries the components do not add up to {TOTAL};"
            f" the largest difference is {difference:.4g}, at event {seq:,}: a component is not recorded."
        )

    def _by_environment(self, names: list[str], look: Look) -> Table:
        rows = []
        ordered = sorted(self._environments)
        for rank, env in ordered[: look.rows]:
            sums = self._environments[rank, env]
            stream = look.facts.stream_label(rank, 1) if len(look.facts.ranks) > 1 else ""
            name = " · ".join(part for part in ("all" if env < 0 else f"env {env}", stream) if part)
            cells = (
                measured(sums[part]) if part in sums else unavailable("no summary has it") for part in (*names, TOTAL)
            )
            rows.append((measured(name), *cells))
        columns = (
            TableColumn("environment"),
            *(TableColumn(name.replace("_", " "), numeric=True) for name in (*names, TOTAL)),
        )
        tone = Tone.WARNING if self.mismatches else Tone.PLAIN
        text = "Sums over the run." if tone is Tone.PLAIN else "Sums over the run; see the note above."
        return Table("Reward by environment", columns, tuple(rows), hidden=len(ordered) - len(rows), explanation=text)


PANEL = Panel(
    "rewards",
    "Reward",
    "Which component drives the reward, and whether the components add up to it.",
    {SUMMARY: ("summary", "batch_idx", "env_id")},
    RewardParts,
)
