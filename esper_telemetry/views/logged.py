"""Texts, files and checkpoints that the program has logged, the latest first."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from esper_telemetry.views.cell import Cell, Tone, measured, unavailable
from esper_telemetry.views.figure import Table, TableColumn
from esper_telemetry.views.panel import Fold, Look, Panel

if TYPE_CHECKING:
    from esper_telemetry.decode import Event
    from esper_telemetry.views.figure import Figure

_KEPT = 256
_LONGEST = 400
_KINDS = {
    "text.logged": "text",
    "artifact.logged": "file",
    "checkpoint.saved": "checkpoint saved",
    "checkpoint.loaded": "checkpoint loaded",
}


class Logged(Fold):
    """One row for each thing that was logged."""

    def __init__(self) -> None:
        self._rows: deque[tuple[tuple[Cell, ...], int]] = deque(maxlen=_KEPT)
        self._total = 0

    def add(self, event: Event) -> None:
        """Take a text, a file or a checkpoint."""
        data, kind = event.data, event.type
        self._total += 1
        artifact, checkpoint = kind == "artifact.logged", kind.startswith("checkpoint.")
        error = data.get("error") if artifact else None
        best = " (best so far)" if kind == "checkpoint.saved" and data.get("is_best") else ""
        name = data.get("path") if checkpoint else data.get("name")
        size = data.get("size_bytes") if artifact or checkpoint else None
        content = _content(kind, data)
        cells = (
            measured(event.seq),
            measured(_KINDS[kind] + best),
            measured(None if name is None else str(name)[:_LONGEST]),
            measured(error, tone=Tone.BAD) if error else content,
            measured(size, "By", reason="no size is recorded"),
        )
        self._rows.append((cells, event.seq))

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return the table."""
        if not self._rows:
            return ()
        shown = list(reversed(self._rows))[: look.rows]
        columns = (
            TableColumn("#", text="Sequence number", numeric=True),
            TableColumn("what"),
            TableColumn("name"),
            TableColumn("content"),
            TableColumn("size", "By", "", numeric=True),
        )
        rows = tuple(cells for cells, _ in shown)
        return (Table("Logged", columns, rows, tuple(seq for _, seq in shown), self._total - len(shown)),)


def _content(kind: str, data: dict[str, Any]) -> Cell:
    if kind == "text.logged":
        text = data.get("text", "")
        cut = len(text) > _LONGEST or bool(data.get("omitted_bytes"))
        return measured(text[:_LONGEST] + ("…" if cut else ""))
    if kind == "checkpoint.saved":
        metric, value = data.get("metric"), data.get("metric_value")
        if metric is None:
            return unavailable("the checkpoint names no measurement")
        return measured(f"{metric} {value:.6g}" if value is not None else f"{metric} not measured")
    if kind == "artifact.logged":
        return measured(data.get("path"), reason="no path is recorded")
    return unavailable("a checkpoint that was read has no content of its own")


_CHECKPOINT = ("path", "size_bytes")
PANEL = Panel(
    "logged",
    "Texts and files",
    "What the program kept besides numbers.",
    {
        "text.logged": ("name", "text", "omitted_bytes"),
        "artifact.logged": ("name", "path", "size_bytes", "error"),
        "checkpoint.saved": (*_CHECKPOINT, "metric", "metric_value", "is_best"),
        "checkpoint.loaded": _CHECKPOINT,
    },
    Logged,
    level="minimal",
)
