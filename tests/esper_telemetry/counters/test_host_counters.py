"""The numpy twin counts what plain loops and the device bank count."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esper_telemetry.counters import CounterSpec, DeviceCounters, HostCounters
from esper_telemetry.counters.cells import LEFT_OUT, VALUES_LEFT_OUT
from esper_telemetry.errors import CounterError
from tests.esper_telemetry.counters.naive import by_head, count, counts_of, random_step, spec_of


def arrays(step):
    return tuple({h: t.numpy() for h, t in part.items()} if isinstance(part, dict) else part.numpy() for part in step)


@pytest.mark.parametrize("form", ["packed", "dict"])
@pytest.mark.parametrize(("heads", "envs"), [(1, 1), (4, 16), (8, 1000)])
def test_the_host_twin_counts_what_a_plain_loop_counts(form, heads, envs):
    spec = spec_of(heads)
    steps = [random_step(spec, envs, seed) for seed in range(3)]
    bank = HostCounters(spec)
    for step in steps:
        bank.record_step(*arrays(step if form == "packed" else by_head(spec, step)))
    assert counts_of(bank.flush(batch_idx=1).result()) == count(spec, steps)


def test_host_and_device_fill_the_same_cells():
    spec = spec_of(3, scalars=("a", "b"), histograms={"a": (0.0, 0.5), "c": (1.0,)})
    host, device = HostCounters(spec), DeviceCounters(spec)
    rng = np.random.default_rng(0)
    for seed in range(4):
        step = random_step(spec, 5, seed)
        values = rng.integers(-8, 8, 6) / 4.0
        values[0] = [np.nan, np.inf, -np.inf, 0.0][seed]
        host.record_step(*arrays(step), scalars={"a": values})
        device.record_step(*step, scalars={"a": torch.from_numpy(values)})
        host.record_scalar("c", values[1])
        device.record_scalar("c", torch.tensor(values[1]))
        host.record_actions(step[0].numpy())
        device.record_actions(step[0])
        host.record_masks(step[1].numpy())
        device.record_masks(step[1])
    one, other = (bank.flush(batch_idx=1).result() for bank in (host, device))
    assert one.ints == other.ints
    assert one.reals == other.reals
    assert [fields for _, fields in one.events()] == [fields for _, fields in other.events()]


def test_buffers_may_be_written_again_at_once():
    spec = spec_of(2)
    steps = [random_step(spec, 4, seed) for seed in range(3)]
    buffers = arrays(tuple(part.clone() for part in steps[0]))
    bank = HostCounters(spec)
    for step in steps:
        for buffer, part in zip(buffers, arrays(step), strict=True):
            buffer[...] = part
        bank.record_step(*buffers)
    assert counts_of(bank.flush(batch_idx=1).result()) == count(spec, steps)


def test_plain_lists_and_numbers_are_taken():
    bank = HostCounters(spec_of(1, scalars=("reward",)))
    bank.record_step([[0], [5]], [[True] * 6, [False] * 5 + [True]], [True, False], scalars={"reward": 1.5})
    found = bank.flush(batch_idx=1).result()
    assert found.action_count["op"] == [1, 0, 0, 0, 0, 1]
    assert found.forced == {"op": 1}
    assert found.scalars["reward"].sum == 1.5


def test_flushes_nobody_takes_are_merged():
    spec = spec_of(1)
    steps = [random_step(spec, 2, seed) for seed in range(5)]
    bank = HostCounters(spec, slots=1, rank=3)
    for number, step in enumerate(steps):
        bank.record_step(*arrays(step))
        bank.flush(batch_idx=number)
    first, rest = bank.close()
    assert counts_of(first) == count(spec, steps[:1])
    assert counts_of(rest) == count(spec, steps[1:])
    assert (rest.first_batch_idx, rest.batch_idx, rest.coalesced, rest.rank) == (1, 4, 3, 3)
    assert bank.poll() == []


def test_rows_that_are_no_decision_count_nowhere_and_their_scalars_neither():
    spec = spec_of(3, scalars=("loss", "a", "b"), histograms={"a": (0.0, 0.5)})
    host, device = HostCounters(spec), DeviceCounters(spec)
    rng = np.random.default_rng(1)
    buffer = np.zeros(5, dtype=bool)
    for seed in range(4):
        actions, masks, success = random_step(spec, 5, seed)
        buffer[:] = rng.random(5) < 0.6
        mine, valid = (buffer if seed != 3 else None), (torch.from_numpy(buffer.copy()) if seed != 3 else None)
        values = {"loss": rng.integers(1, 9) / 4.0, "a": rng.integers(-8, 8, 5) / 4.0, "b": rng.integers(0, 4, 2) / 2.0}
        values["b"][1] = [np.nan, 1.0, np.inf, 2.0][seed]
        for took, mask in ((success, masks), (None, masks), (success, None)):
            host.record_step(
                actions.numpy(), *(None if one is None else one.numpy() for one in (mask, took)), valid=mine
            )
            device.record_step(actions, mask, took, valid=valid)
        tensors = {name: torch.tensor(value) for name, value in values.items()}
        host.record_masks(masks.numpy(), valid=mine)
        device.record_masks(masks, valid=valid)
        host.record_step(actions.numpy(), None, scalars=values, valid=mine)
        device.record_step(actions, None, scalars=tensors, valid=valid)
    one, other = (bank.flush(batch_idx=1).result() for bank in (host, device))
    assert one.invalid_rows == other.invalid_rows > 0
    assert one.ints == other.ints
    assert one.reals == pytest.approx(other.reals, rel=1e-12, nan_ok=True)
    assert {name: summary.count for name, summary in one.scalars.items()} == {
        "loss": 4, "a": 20 - one.invalid_rows // 5, "b": 8,
    }  # fmt: skip
    assert {name: summary.non_finite for name, summary in one.scalars.items()} == {"loss": 0, "a": 0, "b": 2}


@pytest.mark.parametrize("masks", [{}, np.ones((3, 0), dtype=bool)], ids=["by head", "packed"])
def test_a_bank_of_values_alone_takes_the_masks_of_no_heads(masks):
    bank = HostCounters(CounterSpec({}, scalars=("loss",)))
    bank.record_step(None, masks, scalars={"loss": 1.5})
    found = bank.flush(batch_idx=1).result()
    assert (found.steps, found.scalars["loss"].sum, found.misuse) == (1, 1.5, {})


def test_what_does_not_fit_later_is_left_out_by_its_rows():
    bank = HostCounters(spec_of(1, scalars=("loss",)))
    bank.record_step([[1], [2]], None, scalars={"loss": 1.0})
    bank.record_step([[1.0], [2.0], [3.0]], None)
    bank.record_step([[1.0]], None)
    bank.record_step(1.5, None)
    bank.record_scalar("other", 1.0)
    bank.record_scalar("other", [1.0, 2.0])
    found = bank.flush(batch_idx=1).result()
    assert (found.ints[LEFT_OUT], found.ints[VALUES_LEFT_OUT]) == (5, 3)
    assert found.action_count["op"][:3] == [0, 1, 1]
    assert found.scalars["loss"].count == 1


def test_what_is_recorded_after_the_last_flush_is_the_next_batch():
    bank = HostCounters(spec_of(1))
    bank.record_actions([[1]])
    assert bank.flush(batch_idx=7).result().batch_idx == 7
    bank.record_actions([[1], [2]])
    [rest] = bank.close()
    assert (rest.first_batch_idx, rest.batch_idx, rest.action_count["op"][:3]) == (8, 8, [0, 1, 1])


def test_copies_are_counted_early_when_they_take_too_much_memory():
    spec = spec_of(8)
    bank = HostCounters(spec, max_pending_bytes=10_000)
    steps = [random_step(spec, 16, seed) for seed in range(20)]
    for step in steps:
        bank.record_step(*arrays(step))
        assert bank._pending_bytes < 10_000
    assert counts_of(bank.flush(batch_idx=1).result()) == count(spec, steps)


@pytest.mark.parametrize(
    ("actions", "masks", "says"),
    [
        ([[1, 2, 3]], None, r"actions \(packed\): shape is \(1, 3\); give \[B, 1\] or \[B\]"),
        ({"slot": [1]}, None, "actions: heads are slot; the spec has op"),
        ([[1]], [[True] * 6, [True] * 6], r"different numbers of environments \(actions: 1, masks: 2\)"),
        ([[1.0]], None, r"actions \(packed\): dtype is float64; give integers"),
        (None, [[1.0] * 6], r"masks \(packed\): dtype is float64; give bool \(True = valid\).*give mask == 0"),
        (torch.ones(1, 1), None, "actions .packed.: got a Tensor; give an array, or use DeviceCounters"),
        ([[1], [2, 3]], None, "of which numpy makes no array"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(actions, masks, says):
    with pytest.raises(CounterError, match=says):
        HostCounters(spec_of(1)).record_step(actions, masks)


def test_an_unknown_value_is_refused():
    with pytest.raises(CounterError, match="scalar 'x' is unknown; the spec has: none"):
        HostCounters(spec_of(1)).record_scalar("x", 1.0)


def test_masked_places_of_numpy_arrays_are_refused_and_counted_as_left_out():
    spec = CounterSpec(heads={"h": ["a", "b"]}, scalars=("r",))
    bank = HostCounters(spec)
    whole = np.ma.masked_array([0, 1], [False, False])
    bank.record_step(whole, np.ma.masked_array(np.ones((2, 2), bool)), scalars={"r": 1.0})
    bank.record_actions(np.ma.masked_array([0, 1, 1], [False, True, False]))
    bank.record_masks(np.ma.masked_array(np.ones((4, 2), bool), [[True, False]] + [[False, False]] * 3))
    bank.record_scalar("r", np.ma.masked_array([1.0, 99.0], [False, True]))
    bank.record_scalar("r", np.ma.masked)
    snapshot = bank.flush(batch_idx=1).result()
    assert snapshot.ints[LEFT_OUT] == 3 + 4
    assert snapshot.ints[VALUES_LEFT_OUT] == 2 + 1
    events = {event_type.__name__: fields for event_type, fields in snapshot.events()}
    assert events["ActionDistribution"]["total"] == 2
    assert events["ScalarSummarized"]["max"] == 1.0


def test_the_refusal_of_a_masked_array_states_how_many_places_and_what_to_do():
    bank = HostCounters(CounterSpec(heads={"h": ["a", "b"]}))
    with pytest.raises(CounterError, match=r"actions of head 'h': 1 of 3 places .* masked.*valid"):
        bank.record_actions({"h": np.ma.masked_array([0, 1, 1], [False, True, False])})
