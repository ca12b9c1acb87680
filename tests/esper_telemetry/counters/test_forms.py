"""One rule for tensors and arrays: what is taken, what is converted, what is refused, and with which words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esper_telemetry.counters import CounterSpec, DeviceCounters, HostCounters
from esper_telemetry.errors import CounterError

ONE, TWO = CounterSpec({"op": 3}), CounterSpec({"op": 3, "slot": 2})
MASK = np.array([[1, 0, 1], [1, 1, 1]])
BANKS = pytest.mark.parametrize("bank_class", [DeviceCounters, HostCounters])


def given_to(bank_class, spec, actions, masks=None, **more):
    """Record one step and return the snapshot."""

    def convert(part):
        if isinstance(part, dict):
            return {head: convert(one) for head, one in part.items()}
        return torch.from_numpy(part) if bank_class is DeviceCounters and isinstance(part, np.ndarray) else part

    bank = bank_class(spec)
    bank.record_step(convert(actions), convert(masks), **{name: convert(part) for name, part in more.items()})
    return bank.flush(batch_idx=1).result()


@BANKS
@pytest.mark.parametrize(
    "actions",
    [
        np.array([2, 0]),
        np.array([[2], [0]]),
        np.array([2, 0], np.uint8),
        np.array([2, 0], np.int16),
        np.array([[0, 0, 1], [1, 0, 0]]),
        np.array([[0.0, 0.0, 1.0], [7.0, 0.0, 0.0]]),
        np.array([[0, 0, 1], [1, 0, 0]], bool),
        {"op": np.array([2, 0])},
        {"op": np.array([[2], [0]])},
        {"op": np.array([[0, 0, 1], [1, 0, 0]])},
    ],
)
@pytest.mark.parametrize(
    "masks", [MASK.astype(bool), MASK.astype(np.int8), MASK, {"op": MASK.astype(np.uint8)}, MASK.astype(bool)[:, None]]
)
def test_every_form_of_one_head_is_counted_alike(bank_class, actions, masks):
    found = given_to(bank_class, ONE, actions, masks)
    assert found.action_count == {"op": [1, 0, 1]}
    assert found.valid_count == {"op": [2, 1, 2]}
    assert found.out_of_range == found.invalid_selected == {"op": 0}


@BANKS
@pytest.mark.parametrize(
    "actions",
    [
        np.array([[2, 1], [0, 0]]),
        {"slot": np.array([1, 0]), "op": np.array([2, 0])},
        np.array([[0, 0, 1, 0, 1], [1, 0, 0, 1, 0]]),
        {"op": np.array([[0, 0, 1], [1, 0, 0]]), "slot": np.array([[0, 1], [1, 0]])},
        {"op": np.array([[0, 0, 1], [1, 0, 0]]), "slot": np.array([1, 0])},
    ],
)
def test_every_form_of_two_heads_is_counted_alike(bank_class, actions):
    assert given_to(bank_class, TWO, actions).action_count == {"op": [1, 0, 1], "slot": [1, 1]}


@BANKS
def test_a_one_hot_row_without_exactly_one_entry_is_out_of_range(bank_class):
    found = given_to(bank_class, ONE, np.array([[0, 0, 0], [1, 1, 0], [0, 1, 0]]))
    assert (found.action_count, found.out_of_range) == ({"op": [0, 1, 0]}, {"op": 2})


@BANKS
def test_an_integer_mask_of_anything_but_one_is_masked_so_that_an_additive_one_is_loud(bank_class):
    found = given_to(bank_class, ONE, np.array([0, 0]), np.array([[0, -100_000_000, 0], [7, 1, 0]]))
    assert found.valid_count == {"op": [0, 1, 0]}
    assert (found.empty, found.invalid_selected) == ({"op": 1}, {"op": 2})


@BANKS
def test_heads_of_equal_size_take_masks_of_three_dimensions(bank_class):
    spec = CounterSpec({"a": 2, "b": 2})
    masks = np.array([[[True, False], [True, True]]])
    assert given_to(bank_class, spec, np.array([[0, 1]]), masks).valid_count == {"a": [1, 0], "b": [1, 1]}


@BANKS
@pytest.mark.parametrize(
    ("spec", "given", "says"),
    [
        (ONE, {"actions": np.array([[0.0], [1.9]])}, "dtype is .*float64; give integers"),
        (ONE, {"actions": np.array([1.0, 0.0])}, "dtype is .*float64; give integers"),
        (ONE, {"actions": np.zeros((2, 4), int)}, r"shape is \(2, 4\); give \[B, 1\] or \[B\], or one-hot"),
        (ONE, {"actions": np.array(1)}, r"shape is \(\); give"),
        (TWO, {"actions": np.array([1, 0])}, r"shape is \(2,\); give \[B, 2\], or one-hot"),
        (ONE, {"actions": None, "masks": np.array([[0.0, -1e8, 0.0]])}, "of an additive mask give mask == 0"),
        (ONE, {"actions": None, "masks": np.array([[0.3, -1.0, 1.0]])}, "dtype is .*float64; give bool"),
        (ONE, {"actions": None, "masks": np.ones(3, bool)}, r"shape is \(3,\); give \[B, 3\]"),
        (TWO, {"actions": None, "masks": np.ones((1, 2, 3), bool)}, r"shape is \(1, 2, 3\); give \[B, 5\]"),
        (ONE, {"actions": np.array([1]), "success": np.array([1])}, "success: dtype is .*int64; give bool"),
        (ONE, {"actions": np.array([1]), "valid": np.array([1.0])}, "valid: dtype is .*float64; give bool"),
        (ONE, {"actions": np.array([1]), "valid": np.array([True, True])}, r"actions: 1, valid: 2\)"),
        (ONE, {"actions": np.array([1]), "epoch": 3}, "epoch=3 is no argument"),
        (ONE, {"actions": np.array([1j])}, "dtype is .*complex128"),
    ],
)
def test_both_banks_refuse_the_same_with_the_same_words(bank_class, spec, given, says):
    more = {name: part for name, part in given.items() if name not in ("actions", "masks")}
    with pytest.raises(CounterError, match=says):
        given_to(bank_class, spec, given["actions"], given.get("masks"), **more)
