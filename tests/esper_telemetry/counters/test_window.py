"""A window is folded form by form; what fails is left out, and what is right stays."""

from __future__ import annotations

import pytest
import torch

from esper_telemetry.counters import new_state
from esper_telemetry.counters.cells import INVALID_ROWS, LEFT_OUT, VALUES_LEFT_OUT
from esper_telemetry.counters.misuse import Misuse
from esper_telemetry.counters.state import reals_of
from esper_telemetry.counters.window import WindowFold, quiet
from esper_telemetry.errors import CounterError
from tests.esper_telemetry.counters.naive import random_step, spec_of


def window_of(spec, *, strict=False):
    state = new_state(spec, "cpu")
    misuse = Misuse(strict=strict)
    return WindowFold(spec, state, None, misuse, 0), state, misuse


def step_entry(spec, seed, scalars=None):
    return (*random_step(spec, 4, seed), None, scalars, {}, 0)


def test_folding_and_updating_fill_the_same_cells():
    spec = spec_of(2, scalars=("a", "b"), histograms={"b": (0.0,)})
    entries = [step_entry(spec, 0, {"a": torch.ones(4)}), ("b", torch.tensor(2.0), None), step_entry(spec, 1)]
    entries += [("a", torch.tensor([[0.5, -1.0], [4.0, 0.25]]), None), ("b", torch.tensor([-3, 4]), None)]
    (fold, folded, _), (update, updated, _) = window_of(spec), window_of(spec)
    fold.fold(entries)
    update.update(entries)
    assert torch.equal(folded.buffer, updated.buffer)


def test_every_kind_of_record_counts_alike_at_once_and_later():
    """Steps with `valid` and without follow each other, and parts are missing: none is joined to one unlike it."""
    spec = spec_of(2, scalars=("a",), histograms={"h": (0.0, 1.0)})
    entries = []
    for seed in range(6):
        actions, masks, success = random_step(spec, 4, seed)
        valid = torch.tensor([True, False, True, seed % 2 == 0])
        entries += [
            (actions, masks, success, None, None, {}, 0),
            (actions, masks, success, valid, None, {}, 0),
            (None, masks, None, None, None, {}, 0),
            (None, masks, None, valid, {"a": torch.tensor(float(seed))}, {}, 0),
            (actions, None, success, None, None, {}, 0),
            (None, None, None, None, {"a": torch.arange(4.0)}, {}, 0),
            ("h", torch.tensor([-1.0, 0.5, seed / 2.0]), None),
        ]
    (fold, folded, losses), (update, updated, _) = window_of(spec), window_of(spec)
    fold.fold(entries)
    update.update(entries)
    ints = slice(folded.layout.int_cells)
    assert torch.equal(folded.buffer[ints], updated.buffer[ints])
    assert torch.allclose(reals_of(folded), reals_of(updated), rtol=1e-12)
    assert folded.buffer[INVALID_ROWS].item() == 2 * sum(1 + seed % 2 for seed in range(6))
    assert folded.buffer[LEFT_OUT].item() == 0
    assert folded.buffer[folded.layout.recorded].item() == 6 * 5
    assert not losses.counts


def test_steps_of_two_forms_in_one_window_are_all_counted():
    spec = spec_of(2)
    entries = []
    for seed in range(4):
        actions, masks, success = random_step(spec, 4, seed, wild=False)
        sizes = [len(options) for options in spec.heads.values()]
        one_hot = [torch.nn.functional.one_hot(actions[:, head], size) for head, size in enumerate(sizes)]
        entries += [
            (actions, masks, success, None, None, {}, 0),
            (torch.cat(one_hot, 1), masks, success, None, None, {}, 0),
        ]
    (fold, folded, losses), (update, updated, _) = window_of(spec), window_of(spec)
    fold.fold(entries)
    update.update(entries)
    assert torch.equal(folded.buffer, updated.buffer)
    assert not losses.counts


def test_a_record_unlike_the_one_before_in_every_part_is_judged_anew():
    spec = spec_of(2)
    actions, masks, success = random_step(spec, 4, 0)
    good = (actions, masks, success, None, None, {}, 0)
    bad = (actions.float(), masks.float(), success.float(), None, None, {}, 0)
    window, state, misuse = window_of(spec)
    window.fold([good, good, bad, good])
    alone, expected, _ = window_of(spec)
    alone.fold([good, good, good])
    assert state.buffer[LEFT_OUT].item() == 4
    state.buffer[LEFT_OUT] = 0
    assert torch.equal(state.buffer, expected.buffer)
    assert misuse.counts == {"misfit": 1}


def test_a_misfit_is_reported_where_it_is_counted_at_once_too():
    spec = spec_of(2)
    actions, masks, success = random_step(spec, 4, 0)
    window, state, misuse = window_of(spec)
    window.update([(actions.float(), masks, success, None, None, {}, 0)])
    assert misuse.counts == {"misfit": 1}
    window.fold([])
    assert state.buffer[LEFT_OUT].item() == 4


def test_values_of_no_elements_count_nothing():
    spec = spec_of(1, scalars=("a",), histograms={"b": (0.0,)})
    window, state, misuse = window_of(spec)
    before = state.buffer.clone()
    window.fold([("a", torch.empty(0), None), ("b", torch.empty(0), None)])
    assert torch.equal(state.buffer, before)
    assert not misuse.counts


def test_a_misfit_costs_itself_alone():
    spec = spec_of(2, scalars=("a",))
    good = [step_entry(spec, seed) for seed in range(3)]
    actions, masks, success, *rest = good[0]
    bad = (actions, masks.float(), success, *rest)
    window, state, misuse = window_of(spec)
    window.fold([*good, bad, ("a", torch.ones(2), None), ("a", "three", None)])
    alone, expected, _ = window_of(spec)
    alone.fold([*good, ("a", torch.ones(2), None)])
    assert state.buffer[LEFT_OUT].item() == 4
    assert state.buffer[VALUES_LEFT_OUT].item() == 1
    state.buffer[[LEFT_OUT, VALUES_LEFT_OUT]] = 0
    assert torch.equal(state.buffer, expected.buffer)
    assert misuse.counts == {"misfit": 2}


def test_a_strict_window_raises_and_keeps_the_totals_of_what_it_folded():
    spec = spec_of(1, scalars=("a",))
    window, state, _ = window_of(spec, strict=True)
    with pytest.raises(CounterError, match="scalar 'a': got a str"):
        window.fold([step_entry(spec, 0), ("a", "three", None)])
    layout = state.layout
    assert state.buffer[3].item() == 4
    assert state.buffer[layout.chosen : layout.chosen_valid].sum() <= 4


def test_the_quiet_context_turns_gradients_and_autocast_off_and_back_on():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with quiet(torch.device("cpu")):
            assert not torch.is_autocast_enabled("cpu")
            assert not torch.is_grad_enabled()
        assert torch.is_autocast_enabled("cpu")
    assert torch.is_grad_enabled()
