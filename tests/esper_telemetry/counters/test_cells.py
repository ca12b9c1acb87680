"""Every count has a cell of its own, and what one call adds to is contiguous."""

from __future__ import annotations

from itertools import pairwise, product

from esper_telemetry.counters.cells import CELL_BYTES, TOTALS, Part, layout_of
from tests.esper_telemetry.counters.naive import spec_of


def test_cells_follow_each_other_without_gap_or_overlap():
    spec = spec_of(8, scalars=("a", "b"), histograms={"h": (0.0, 1.0), "i": (0.0,)})
    layout = layout_of(spec)
    options, heads = spec.option_count, len(spec.heads)
    starts = [
        (layout.succeeded, options),
        (layout.chosen, options),
        (layout.chosen_valid, options),
        (layout.valid, options),
        (layout.blank, 1),
        (layout.nonempty, heads),
        (layout.forced, heads),
        (layout.free, heads),
        (layout.recorded, 2),
        (layout.finite, 2),
        (layout.buckets[0], 4),
        (layout.buckets[1], 3),
        (layout.weights, 2),
        (layout.sums, 2),
        (layout.squares, 2),
        (layout.mins, 2),
        (layout.maxs, 2),
        (layout.cells, 0),
    ]
    assert starts[0][0] == TOTALS
    assert all(start + size == after for (start, size), (after, _) in pairwise(starts))
    assert layout.int_cells == layout.weights


def test_each_kind_of_call_adds_to_its_own_cells_only():
    layout = layout_of(spec_of(2))
    for actions, masks, success in product((True, False), repeat=3):
        if not (actions or masks) or (success and not actions):
            continue
        part = Part(actions, masks, success)
        cells, rows, steps = layout.columns(part), part.rows, part.steps
        assert (layout.chosen in range(cells.start, cells.stop)) == actions
        assert (layout.succeeded in range(cells.start, cells.stop)) == success
        assert (layout.valid in range(cells.start, cells.stop)) == masks
        assert rows.stop - rows.start == (actions + masks + success + (actions and masks))
        assert steps.stop - steps.start == actions + masks


def test_a_trainer_of_eight_heads_needs_less_than_two_kilobytes():
    assert layout_of(spec_of(8, scalars=("reward",))).cells * CELL_BYTES < 2048
