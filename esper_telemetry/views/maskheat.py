"""What the masks did: how often each option was masked, what was chosen where it was free, and how often one was left.

Ratios are ratios of sums over batches, never means of ratios.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.views.axes import BY_BATCH, XKind, x_axis
from esper_telemetry.views.batches import BatchCounts, BatchTable, batch_gaps
from esper_telemetry.views.cell import Tone, measured
from esper_telemetry.views.figure import Axis, Heat, Table, TableColumn
from esper_telemetry.views.panel import Fold, Look, Panel
from esper_telemetry.views.tracks import Tracks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.decode import Event
    from esper_telemetry.views.figure import Figure

RATES = "policy.mask_hit_rates"
_COUNTS = ("total", "hit", "forced", "relevant", "empty", "invalid_selected", "out_of_range")
_BUGS = ("empty", "invalid_selected", "out_of_range")
_MOST_COLUMNS = 120


class MaskHeat(Fold):
    """Counts by head, option and batch."""

    def __init__(self) -> None:
        self._table = BatchTable()
        self._options: dict[str, list[str]] = {}
        self._shares = Tracks(BY_BATCH)

    def add(self, event: Event) -> None:
        """Take the counts of a batch."""
        data = event.data
        batch, device = data.get("batch_idx", 0), str(data.get("device", ""))
        heads: list[dict[str, Any]] = data.get("heads", [])
        counts: dict[str, float] = {}
        for head in heads:
            name = str(head.get("head", ""))
            options = head.get("options", [])
            known = self._options.setdefault(name, [])
            known += [option for option in options if option not in known]
            counts |= {_name(name, what): head[what] for what in _COUNTS if what in head}
            for what in ("masked", "chosen"):
                each = zip(options, head.get(what, ()), strict=False)
                counts |= {_name(name, what, option): count for option, count in each}
            total = head.get("total")
            shares = {
                what: head[what] / total if total and what in head else None for what in ("forced", "relevant", "hit")
            }
            self._shares.add(event, data, shares, name)
        self._table.add(event, batch, device, counts)

    @property
    def options(self) -> dict[str, int]:
        """Options that each head has."""
        return {head: len(options) for head, options in self._options.items()}

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return both heats, the forced share, and the table of sums."""
        if not self._options:
            return ()
        masked = self._heat("Masked", look, "masked", "share of the decisions in which the option was not allowed")
        chosen = self._heat("Chosen where allowed", look, "chosen", "share of the decisions that allowed the option")
        share = Axis("share", "1", 0, 1)
        forced = self._shares.series(
            "forced", look, share, title="Decisions with one option left", explanation="Nothing was decided in them."
        )
        return (self._sums(), masked, chosen, *forced)

    def _heat(self, title: str, look: Look, what: str, text: str) -> Heat:
        rows: list[str] = []
        groups: list[str] = []
        values: list[tuple[float | None, ...]] = []
        counts: list[tuple[tuple[int, int] | None, ...]] = []
        stretches = self._table.stretches(_MOST_COLUMNS, look)
        for head, options in self._options.items():
            for option in options:
                cells = [_ratio(one, head, what, option) for one in stretches]
                rows.append(option)
                groups.append(head)
                counts.append(tuple(cells))
                values.append(tuple(None if cell is None else cell[0] / cell[1] for cell in cells))
        return Heat(
            title,
            x_axis(XKind.BATCH),
            "1",
            tuple(rows),
            tuple(groups),
            tuple(float(one.first) for one in stretches),
            tuple(values),
            tuple(counts),
            seqs=tuple(one.seq for one in stretches),
            gaps=tuple(batch_gaps(stretches, self._table.full_name, look)),
            explanation=text[:1].upper() + text[1:] + ".",
        )

    def _sums(self) -> Table:
        rows = []
        whole = _sum(self._table.stretches(1 << 30))
        for head in self._options:
            sums = {what: whole[_name(head, what)] for what in _COUNTS if _name(head, what) in whole}
            total = sums.get("total")
            cells = [measured(head), measured(_whole(total))]
            for what in ("hit", "forced", "relevant"):
                share = 100 * sums[what] / total if total and what in sums else None
                cells.append(measured(share, "%", reason="" if share is not None else "not counted"))
            for what in _BUGS:
                tone = Tone.BAD if sums.get(what) else Tone.PLAIN
                cells.append(measured(_whole(sums.get(what)), tone=tone))
            rows.append(tuple(cells))
        columns = (
            TableColumn("head"),
            TableColumn("decisions", numeric=True),
            TableColumn("restricted", "%", "At least one option was masked", numeric=True),
            TableColumn("forced", "%", "Exactly one option was left", numeric=True),
            TableColumn("relevant", "%", "The head mattered for the operation", numeric=True),
            TableColumn("all masked", text="A bug of the masks, unless such rows are no decisions", numeric=True),
            TableColumn(
                "masked chosen", text="A bug of the sampling, unless actions came from elsewhere", numeric=True
            ),
            TableColumn("out of range", text="A bug if not 0", numeric=True),
        )
        return Table("Masks over the run", columns, tuple(rows))


def _name(head: str, what: str, option: str = "") -> str:
    """Return the name of a count; names of heads and options may hold any character but NUL."""
    return f"{head}\0{what}\0{option}"


def _ratio(one: BatchCounts, head: str, what: str, option: str) -> tuple[int, int] | None:
    """Return part and whole of an option in a stretch; None where nothing was counted."""
    part, total = one.counts.get(_name(head, what, option)), one.counts.get(_name(head, "total"))
    if part is None or total is None:
        return None
    whole = total if what == "masked" else total - one.counts.get(_name(head, "masked", option), 0)
    return (int(part), int(whole)) if whole else None


def _sum(stretches: Sequence[BatchCounts]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for one in stretches:
        for name, count in one.counts.items():
            sums[name] = sums.get(name, 0) + count
    return sums


def _whole(count: float | None) -> int | None:
    return None if count is None else int(count)


PANEL = Panel(
    "masks",
    "Masks",
    "An option that is never free, a head that is always forced, and the counts in red, which are bugs if not 0.",
    {
        RATES: (
            *(f"heads.{name}" for name in ("head", "options", "masked", "chosen", *_COUNTS)),
            "batch_idx",
            "device",
        )
    },
    MaskHeat,
)
