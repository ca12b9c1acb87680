"""Panics and rollbacks of the governor, each with its cause, its loss against the threshold, and what it dropped."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from esper_telemetry.views.cell import Tone, measured
from esper_telemetry.views.figure import Table, TableColumn
from esper_telemetry.views.panel import Fold, Look, Panel

if TYPE_CHECKING:
    from esper_telemetry.decode import Event
    from esper_telemetry.views.cell import Cell
    from esper_telemetry.views.figure import Figure

_KEPT = 512


class Rollbacks(Fold):
    """The latest panics and rollbacks, one row each."""

    def __init__(self) -> None:
        self._rows: deque[tuple[tuple[Cell, ...], int]] = deque(maxlen=_KEPT)
        self.panics = 0
        self.rollbacks = 0

    def add(self, event: Event) -> None:
        """Take a panic or a rollback."""
        data = event.data
        back = event.type == "governor.rolled_back"
        self.rollbacks += back
        self.panics += not back
        penalty = data.get("reward_penalty") if back else None
        dropped = ", ".join(data.get("dropped_seed_ids", [])) or "none" if back else None
        cells = (
            measured(event.seq),
            measured("rollback" if back else "panic", tone=Tone.BAD if back else Tone.WARNING),
            measured(data.get("env_id")),
            measured(data.get("global_epoch"), reason="the event names no batch"),
            measured(data.get("reason")),
            measured(data.get("loss")),
            measured(data.get("threshold"), reason="being finite was the test"),
            measured(data.get("consecutive_panics")),
            measured(penalty, reason="the event names none"),
            measured(dropped, reason="a panic drops nothing"),
        )
        self._rows.append((cells, event.seq))

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return the table, the latest first."""
        if not self._rows:
            return ()
        newest = list(reversed(self._rows))[: look.rows]
        columns = (
            TableColumn("#", text="Sequence number", numeric=True),
            TableColumn("what"),
            TableColumn("env", numeric=True),
            TableColumn("batch", numeric=True),
            TableColumn("cause"),
            TableColumn("loss", "1", "The loss that was seen; NaN is a measurement", numeric=True),
            TableColumn("threshold", "1", "What it crossed", numeric=True),
            TableColumn("in a row", text="Panics in a row", numeric=True),
            TableColumn("penalty", "1", "Added to the reward", numeric=True),
            TableColumn("seeds dropped"),
        )
        hidden = self.panics + self.rollbacks - len(newest)
        text = f"{self.panics:,} panics and {self.rollbacks:,} rollbacks in all."
        rows = tuple(cells for cells, _ in newest)
        return (Table("Governor", columns, rows, tuple(seq for _, seq in newest), hidden, text),)


_FIELDS = ("env_id", "global_epoch", "reason", "loss", "threshold", "consecutive_panics")
PANEL = Panel(
    "governor",
    "Governor",
    "Every panic is a loss that the governor did not believe; a rollback throws away what the batch had learned.",
    {"governor.panicked": _FIELDS, "governor.rolled_back": (*_FIELDS, "reward_penalty", "dropped_seed_ids")},
    Rollbacks,
    level="lifecycle",
)
