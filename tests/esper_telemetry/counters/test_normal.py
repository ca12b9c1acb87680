"""Whatever the form, inside a bank there are index columns and mask columns; nothing is read on the way."""

from __future__ import annotations

import torch

from esper_telemetry.counters import CounterSpec, new_state
from esper_telemetry.counters.step_counts import index_columns, mask_columns
from tests.esper_telemetry.counters.launches import OnlyQueued

STATE = new_state(CounterSpec({"op": range(1, 4), "slot": 2}), "cpu")


def test_options_count_from_zero_in_each_head_and_one_hot_needs_no_offset():
    packed = [torch.tensor([[1, 0], [3, 1]]), torch.tensor([[2, 7]])]
    assert index_columns(STATE, packed).tolist() == [[0, 2, 1], [0, 1, 7]]
    one_hot = [torch.tensor([[1, 0, 0, 1, 0], [0, 0, 1, 0, 1]]), torch.tensor([[0, 1, 0, 1, 1]])]
    assert index_columns(STATE, one_hot).tolist() == [[0, 2, 1], [0, 1, -1]]
    mixed = [{"op": torch.tensor([[0, 1, 0]]), "slot": torch.tensor([[1]])}]
    assert index_columns(STATE, mixed).tolist() == [[1], [1]]


def test_masks_of_any_form_become_flags_by_option():
    flags = torch.tensor([[True, False, True, True, False]])
    assert torch.cat(mask_columns(STATE, [flags, flags])).t().tolist() == [flags[0].tolist()] * 2
    heads = {"op": torch.tensor([[1, 0, 2]], dtype=torch.int8), "slot": torch.tensor([[1, 0]], dtype=torch.int8)}
    assert torch.cat(mask_columns(STATE, [heads])).t().tolist() == [[True, False, False, True, False]]


def test_no_form_makes_the_host_wait():
    one_hot = [torch.tensor([[1, 0, 0, 1, 0]])] * 3
    mixed = [{"op": torch.tensor([[0, 1, 0]]), "slot": torch.tensor([[1]])}]
    flags = [part == 1 for part in one_hot]
    with OnlyQueued():
        index_columns(STATE, one_hot)
        index_columns(STATE, mixed)
        mask_columns(STATE, flags)
        mask_columns(STATE, one_hot)
