"""Where each count is stored in a bank: one row of int64 cells with a tail of float64 cells.

Device and host banks fill the same cells, so a snapshot is read from either in the same
way, and one device → host copy brings everything. Per head, two columns count the
*complement* of what is reported (rows with any valid option, rows with all options
valid): padding then adds zero to every cell, and the difference is taken on the host.
What was not counted has cells too, so that it is reset, merged and reduced with the counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from esper_telemetry.counters.spec import CounterSpec

CELL_BYTES = 8

# Totals, in an order in which what one call adds to is contiguous. Rows: all four for a whole step; without
# success, the last three; actions alone, the first two (or the second); masks alone, the last.
ACTION_STEPS, MASK_STEPS, SUCCESS_ROWS, ACTION_ROWS, JOINT_ROWS, MASK_ROWS, STEP_TOTALS = range(7)
# Rows that were no decision (`valid` was False); rows and values of records that could not be counted; those whose
# memory was reused in a way that shows no write, so that what they held is not known.
INVALID_ROWS, LEFT_OUT, DOUBTFUL, VALUES_LEFT_OUT, VALUES_DOUBTFUL, MISUSE = range(6, 12)
# Kinds of misuse, a cell each.
MISUSES = ("overwritten", "shared", "misfit", "thread", "stream", "capture", "detail", "failed", "unseen")
TOTALS = MISUSE + len(MISUSES)


class Part(NamedTuple):
    """What one record call brought, by presence."""

    actions: bool
    masks: bool
    success: bool

    @property
    def steps(self) -> slice:
        """Return the totals of calls it adds to."""
        return slice(ACTION_STEPS if self.actions else MASK_STEPS, SUCCESS_ROWS if self.masks else MASK_STEPS)

    @property
    def rows(self) -> slice:
        """Return the totals of rows it adds to."""
        start = SUCCESS_ROWS if self.success else ACTION_ROWS if self.actions else MASK_ROWS
        return slice(start, STEP_TOTALS if self.masks else JOINT_ROWS)


@dataclass(frozen=True)
class CellLayout:
    """Positions of all cells for S options, H heads, V values (scalars) and the histograms.

    Attributes:
        succeeded: S cells: option chosen and took effect.
        chosen: S cells: option chosen.
        chosen_valid: S cells: option chosen while valid.
        valid: S cells: option valid.
        blank: one cell that stays 0: its row is read for the options that a narrow head lacks.
        nonempty: H cells: at least one option valid.
        forced: H cells: exactly one option valid.
        free: H cells: every option valid.
        recorded: V cells: values recorded, those of weight 0 left out.
        finite: V cells: finite ones among them.
        buckets: per histogram: values recorded, then values below each edge, then all that are no NaN.
        int_cells: number of int64 cells; the float64 tail starts there.
        weights: V cells, float64: sum of the weights of the finite values (1 each where none were given).
        sums: V cells, float64: sum of weight x value.
        squares: V cells, float64: sum of weight x (value - mean)^2.
        mins, maxs: V cells each, float64.
        cells: number of all cells.
    """

    succeeded: int
    chosen: int
    chosen_valid: int
    valid: int
    blank: int
    nonempty: int
    forced: int
    free: int
    recorded: int
    finite: int
    buckets: tuple[int, ...]
    int_cells: int
    weights: int
    sums: int
    squares: int
    mins: int
    maxs: int
    cells: int

    def columns(self, part: Part) -> slice:
        """Return the cells of options and heads that a record call adds to: always contiguous."""
        start = self.succeeded if part.success else self.chosen if part.actions else self.valid
        return slice(start, self.recorded if part.masks else self.chosen_valid)

    def sections(self, part: Part) -> dict[str, int]:
        """Return the names and sizes of what `columns` spans, in order."""
        options, heads = self.chosen - self.succeeded, self.forced - self.nonempty
        sizes = {"succeeded": options} if part.success else {}
        if part.actions:
            sizes["chosen"] = options
        if part.masks:
            sizes |= {"chosen_valid": options} if part.actions else {}
            sizes |= {"valid": options, "blank": 1, "nonempty": heads, "forced": heads, "free": heads}
        return sizes


def layout_of(spec: CounterSpec) -> CellLayout:
    """Return the layout of the cells for `spec`."""
    options, heads, values = spec.option_count, len(spec.heads), len(spec.scalars)
    chosen = TOTALS + options
    chosen_valid = chosen + options
    valid = chosen_valid + options
    blank = valid + options
    nonempty = blank + 1
    forced = nonempty + heads
    free = forced + heads
    recorded = free + heads
    finite = recorded + values
    end = finite + values
    buckets = []
    for edges in spec.histograms.values():
        buckets.append(end)
        end += len(edges) + 2
    return CellLayout(
        succeeded=TOTALS,
        chosen=chosen,
        chosen_valid=chosen_valid,
        valid=valid,
        blank=blank,
        nonempty=nonempty,
        forced=forced,
        free=free,
        recorded=recorded,
        finite=finite,
        buckets=tuple(buckets),
        int_cells=end,
        weights=end,
        sums=end + values,
        squares=end + 2 * values,
        mins=end + 3 * values,
        maxs=end + 4 * values,
        cells=end + 5 * values,
    )
