"""The accumulators start empty, with the constants of their spec beside them."""

from __future__ import annotations

import math

import pytest
import torch

from esper_telemetry.counters import CounterSpec, DeviceCounters, new_state
from esper_telemetry.counters.state import add_totals_
from tests.esper_telemetry.counters.naive import spec_of


def test_a_new_state_holds_nothing():
    state = new_state(spec_of(3, scalars=("a", "b"), histograms={"h": (0.0,)}), "cpu")
    assert not state.buffer[: state.layout.int_cells].any()
    reals = state.buffer[state.layout.weights :].view(torch.float64).tolist()
    assert reals == [*[0.0] * 6, math.inf, math.inf, -math.inf, -math.inf]


def test_constants_say_where_each_option_stands():
    state = new_state(CounterSpec({"op": 3, "slot": 2}), "cpu")
    assert state.head_of.tolist() == [0, 0, 0, 1, 1]
    assert state.local.tolist() == [[0], [1], [2], [0], [1]]
    assert state.padded.tolist() == [0, 1, 2, 3, 4, 5], "the last one is the blank row"
    assert state.sizes.tolist() == [[3], [2]]
    assert state.names == ("op", "slot")


@pytest.mark.parametrize(("options", "dtype"), [(127, torch.int8), (128, torch.int16), (32_767, torch.int16)])
def test_option_numbers_take_the_narrowest_type_that_tells_them_from_out_of_range(options, dtype):
    state = new_state(CounterSpec({"op": options}), "cpu")
    assert state.local.dtype == dtype
    assert torch.iinfo(dtype).max >= options


def test_totals_are_added_to_their_cells():
    state = new_state(spec_of(1), "cpu")
    add_totals_(state, {0: 3, 3: 5})
    add_totals_(state, {3: 1})
    add_totals_(state, {})
    assert state.buffer[:5].tolist() == [3, 0, 0, 6, 0]


def test_heads_that_begin_at_0_and_others_count_side_by_side():
    bank = DeviceCounters(CounterSpec({"op": 3, "slot": range(5, 7)}))
    bank.record_actions(torch.tensor([[2, 5], [0, 6], [1, 0]]))
    found = bank.flush(batch_idx=1).result()
    assert found.action_count == {"op": [1, 1, 1], "slot": [1, 1]}
    assert found.out_of_range == {"op": 0, "slot": 1}
