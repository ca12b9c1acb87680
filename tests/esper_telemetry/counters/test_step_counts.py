"""The deferred fold fills the cells that step by step updates fill, whatever the number of rows."""

from __future__ import annotations

import pytest
import torch

from esper_telemetry.counters import CounterSpec, new_state, update_
from esper_telemetry.counters.cells import TOTALS
from esper_telemetry.counters.step_counts import Workspace, fold_, padded_rows
from tests.esper_telemetry.counters.naive import by_head, random_step, spec_of


def fresh():
    return Workspace(torch.device("cpu"), 0)


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 2039, 2040, 2041, 4081, 131_072, 999_999])
def test_rows_are_rounded_up_to_whole_groups_of_bytes_that_cannot_overflow(rows):
    span, groups, words = padded_rows(rows)
    assert span == 8 * groups * words
    assert rows <= span < rows + 8 * (groups + 1)
    assert words <= 255


@pytest.mark.parametrize("rows", [1, 8, 2039, 2040, 2041, 5000])
@pytest.mark.parametrize("form", ["packed", "dict"])
@pytest.mark.parametrize("parts", ["all", "no success", "actions", "actions and success", "masks"])
def test_a_fold_equals_updates_for_any_parts_and_number_of_rows(rows, form, parts):
    spec = spec_of(4)
    steps = [random_step(spec, rows, 0), random_step(spec, 1, 1)]
    if form == "dict":
        steps = [by_head(spec, step) for step in steps]
    actions, masks, success = (list(part) for part in zip(*steps, strict=True))
    actions = [] if parts == "masks" else actions
    masks = [] if parts.startswith("actions") else masks
    success = success if parts in ("all", "actions and success") else []
    folded, stepped = new_state(spec, "cpu"), new_state(spec, "cpu")
    fold_(folded, actions, masks, success, fresh())
    for number in range(2):
        update_(stepped, *(part[number] if part else None for part in (actions, masks, success)))
    assert torch.equal(folded.buffer[TOTALS:], stepped.buffer[TOTALS:])


def test_all_rows_alike_do_not_overflow_a_byte():
    spec = CounterSpec({"op": 1})
    state = new_state(spec, "cpu")
    rows = 8 * 255 * 3
    fold_(state, [torch.zeros(rows, 1, dtype=torch.int64)], [torch.ones(rows, 1, dtype=torch.bool)], [], fresh())
    layout = state.layout
    assert (
        state.buffer[[layout.chosen, layout.chosen_valid, layout.valid, layout.forced, layout.free]].tolist()
        == [rows] * 5
    )


def test_no_rows_count_nothing():
    spec = spec_of(2)
    state = new_state(spec, "cpu")
    fold_(state, *([part] for part in random_step(spec, 0, 0)), fresh())
    assert not state.buffer.any()


def test_parts_of_different_length_are_refused_before_anything_is_counted():
    spec = spec_of(2)
    actions, masks, success = random_step(spec, 4, 0)
    state = new_state(spec, "cpu")
    for parts in (([actions[:3]], [masks], []), ([actions], [masks], [success[:1]]), ([actions[:1]], [masks], [])):
        with pytest.raises(ValueError, match="different numbers of rows"):
            fold_(state, *parts, fresh())
    with pytest.raises(ValueError, match=r"actions are torch\.float32; give integers"):
        fold_(state, [actions.float()], [masks], [], fresh())
    assert not state.buffer.any()


def test_folds_of_any_size_may_share_their_memory():
    spec = spec_of(3)
    shared = Workspace(torch.device("cpu"), 1 << 20)
    together, alone = new_state(spec, "cpu"), new_state(spec, "cpu")
    for number, rows in enumerate((40, 3, 2100, 41, 1)):
        parts = [[part] for part in random_step(spec, rows, number)]
        fold_(together, *parts, shared)
        fold_(alone, *parts, fresh())
        fold_(together, parts[0], [], [], shared)
        fold_(alone, parts[0], [], [], fresh())
    assert torch.equal(together.buffer, alone.buffer)


@pytest.mark.parametrize("steps", [1, 2])
def test_what_was_recorded_is_never_written_to(steps):
    spec = spec_of(2)
    recorded = [random_step(spec, 4, seed) for seed in range(steps)]
    copies = [tuple(part.clone() for part in step) for step in recorded]
    fold_(new_state(spec, "cpu"), *(list(part) for part in zip(*recorded, strict=True)), fresh())
    assert all(
        torch.equal(a, b) for one, other in zip(recorded, copies, strict=True) for a, b in zip(one, other, strict=True)
    )
