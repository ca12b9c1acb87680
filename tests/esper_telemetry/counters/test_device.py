"""A bank counts what plain loops count, in every mode, and hands each count over once."""

from __future__ import annotations

import multiprocessing
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_telemetry.counters import CounterSpec, DeviceCounters
from esper_telemetry.errors import CounterError
from tests.esper_telemetry.counters.naive import by_head, count, counts_of, random_step, spec_of


def record_all(bank, steps):
    for step in steps:
        bank.record_step(*step)


@pytest.mark.parametrize("mode", ["deferred", "inline"])
@pytest.mark.parametrize("form", ["packed", "dict"])
@pytest.mark.parametrize(
    ("heads", "envs", "steps"), [(1, 1, 1), (2, 3, 7), (4, 16, 32), (8, 16, 3), (8, 255, 9), (8, 4096, 2)]
)
def test_a_bank_counts_what_a_plain_loop_counts(mode, form, heads, envs, steps):
    spec = spec_of(heads)
    packed = [random_step(spec, envs, seed) for seed in range(steps)]
    bank = DeviceCounters(spec, mode=mode)
    record_all(bank, packed if form == "packed" else [by_head(spec, step) for step in packed])
    assert counts_of(bank.flush(batch_idx=1).result()) == count(spec, packed)


@pytest.mark.parametrize("mode", ["deferred", "inline"])
def test_deterministic_algorithms_change_no_count(mode):
    spec = spec_of()
    steps = [random_step(spec, 33, seed) for seed in range(5)]
    torch.use_deterministic_algorithms(mode=True)
    try:
        bank = DeviceCounters(spec, mode=mode)
        record_all(bank, steps)
        assert counts_of(bank.flush(batch_idx=1).result()) == count(spec, steps)
    finally:
        torch.use_deterministic_algorithms(mode=False)


@pytest.mark.parametrize("mode", ["deferred", "inline"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_no_count_and_no_sum(mode, dtype):
    spec = spec_of(scalars=("reward",))
    steps = [random_step(spec, 1000, seed) for seed in range(5)]
    bank = DeviceCounters(spec, mode=mode)
    with torch.autocast("cpu", dtype=dtype):
        for step in steps:
            bank.record_step(*step, scalars={"reward": torch.full((1000,), 1.0009765625)})
        found = bank.flush(batch_idx=1).result()
    assert counts_of(found) == count(spec, steps)
    assert found.scalars["reward"].sum == 5000 * 1.0009765625


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_a_bank_made_and_used_under_inference_mode_counts_on_outside_it(context):
    spec = spec_of(2, scalars=("loss",))
    steps = [random_step(spec, 4, seed) for seed in range(4)]
    with context():
        bank = DeviceCounters(spec)
        record_all(bank, [tuple(part.clone() for part in step) for step in steps[:2]])
        bank.record_scalar("loss", torch.ones(3))
    record_all(bank, steps[2:])
    assert counts_of(bank.flush(batch_idx=1).result()) == count(spec, steps)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_counts_equal_a_plain_loop_for_any_shape_and_mask(data):
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=8))
    spec = CounterSpec({f"head{i}": size for i, size in enumerate(sizes)})
    steps = []
    for _ in range(data.draw(st.integers(1, 4))):
        envs = data.draw(st.integers(1, 20))
        actions = data.draw(
            st.lists(
                st.lists(st.integers(-300, 300), min_size=len(sizes), max_size=len(sizes)), min_size=envs, max_size=envs
            )
        )
        masks = data.draw(st.lists(st.integers(0, 2 ** sum(sizes) - 1), min_size=envs, max_size=envs))
        bits = [[bool(mask >> bit & 1) for bit in range(sum(sizes))] for mask in masks]
        success = data.draw(st.lists(st.booleans(), min_size=envs, max_size=envs))
        steps.append((torch.tensor(actions), torch.tensor(bits), torch.tensor(success)))
    expected = count(spec, steps)
    for mode in ("deferred", "inline"):
        for form in (steps, [by_head(spec, step) for step in steps]):
            bank = DeviceCounters(spec, mode=mode)
            record_all(bank, form)
            assert counts_of(bank.flush(batch_idx=1).result()) == expected


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8])
def test_actions_of_any_integer_type_are_counted(dtype):
    spec = spec_of(3)
    actions, masks, success = random_step(spec, 40, 1, wild=False)
    for mode in ("deferred", "inline"):
        bank = DeviceCounters(spec, mode=mode)
        record_all(bank, [(actions.to(dtype), masks, success), (actions.to(dtype), masks, success)])
        assert counts_of(bank.flush(batch_idx=1).result()) == count(spec, [(actions, masks, success)] * 2)


def test_an_index_far_out_of_range_never_wraps_into_an_option():
    spec = CounterSpec({"op": 3})
    actions = torch.tensor([[256], [2**32], [2**32 + 1], [-256], [2**62], [1]])
    for mode in ("deferred", "inline"):
        bank = DeviceCounters(spec, mode=mode)
        bank.record_actions(actions)
        found = bank.flush(batch_idx=1).result()
        assert found.action_count == {"op": [0, 1, 0]}
        assert found.out_of_range == {"op": 5}


def test_a_head_of_thousands_of_options_is_counted():
    spec = CounterSpec({"op": 2, "token": 3000})
    steps = [random_step(spec, 20, seed) for seed in range(2)]
    for mode in ("deferred", "inline"):
        bank = DeviceCounters(spec, mode=mode)
        record_all(bank, steps)
        assert counts_of(bank.flush(batch_idx=1).result()) == count(spec, steps)


def test_steps_of_different_width_form_and_parts_share_a_window():
    spec = spec_of(3)
    steps = [random_step(spec, envs, envs) for envs in (1, 16, 5)]
    bank = DeviceCounters(spec)
    bank.record_step(*steps[0])
    bank.record_step(*by_head(spec, steps[1]))
    bank.record_actions(steps[2][0], steps[2][2])
    bank.record_masks(steps[2][1])
    found = bank.flush(batch_idx=1).result()
    expected = count(spec, steps)
    assert found.action_count == expected["action_count"]
    assert found.success_count == expected["success_count"]
    assert found.valid_count == expected["valid_count"]
    assert found.restricted == expected["restricted"]
    assert found.invalid_selected == {}, "actions without their masks cannot tell"


@pytest.mark.parametrize("mode", ["deferred", "inline"])
def test_what_is_not_recorded_is_absent_and_not_zero(mode):
    spec = spec_of(2, scalars=("reward",))
    bank = DeviceCounters(spec, mode=mode)
    actions, masks, _ = random_step(spec, 4, 0)
    bank.record_actions(actions)
    found = bank.flush(batch_idx=1).result()
    assert found.success_count == found.valid_count == found.restricted == found.scalars == {}
    bank.record_masks(masks)
    found = bank.flush(batch_idx=2).result()
    assert found.action_count == found.relevant == found.out_of_range == {}
    assert found.steps == 1


def test_a_flush_begins_anew():
    spec = spec_of(2)
    steps = [random_step(spec, 3, seed) for seed in range(3)]
    bank = DeviceCounters(spec)
    for number, step in enumerate(steps):
        bank.record_step(*step)
        found = bank.flush(batch_idx=number).result()
        assert counts_of(found) == count(spec, [step])
        assert (found.first_batch_idx, found.batch_idx, found.coalesced) == (number, number, 0)


def test_each_snapshot_is_handed_over_once_whoever_takes_it():
    spec = spec_of(1)
    bank = DeviceCounters(spec, slots=4)
    pending = []
    for number in range(3):
        bank.record_step(*random_step(spec, 2, number))
        pending.append(bank.flush(batch_idx=number))
    assert pending[1].result().batch_idx == 1
    assert [one.batch_idx for one in bank.poll()] == [0, 2]
    assert bank.poll() == bank.close() == []
    assert pending[0].result().batch_idx == 0, "a snapshot that was taken can still be read"


def test_flushes_nobody_takes_are_merged_and_nothing_is_lost():
    spec = spec_of(3)
    steps = [random_step(spec, 4, seed) for seed in range(10)]
    bank = DeviceCounters(spec, slots=2)
    flushed = []
    for number, step in enumerate(steps):
        bank.record_step(*step)
        flushed.append(bank.flush(batch_idx=number + 1))
    assert [one is not None for one in flushed] == [True, True] + [False] * 8
    first, second, rest = bank.close()
    assert counts_of(first) == count(spec, steps[:1])
    assert counts_of(second) == count(spec, steps[1:2])
    assert counts_of(rest) == count(spec, steps[2:])
    assert (rest.first_batch_idx, rest.batch_idx, rest.coalesced) == (3, 10, 7)


def test_close_brings_the_records_since_the_last_flush_as_the_batch_after_it():
    spec = spec_of(1)
    bank = DeviceCounters(spec)
    bank.record_step(*random_step(spec, 2, 0))
    bank.flush(batch_idx=7)
    bank.record_step(*random_step(spec, 2, 1))
    assert [(one.batch_idx, one.steps) for one in bank.close()] == [(7, 1), (8, 1)]


def test_a_closed_bank_ignores_every_call():
    spec = spec_of(1, scalars=("reward",))
    bank = DeviceCounters(spec, strict=True)
    assert bank.close() == []
    bank.record_step(*random_step(spec, 2, 0))
    bank.record_scalar("reward", torch.ones(1))
    assert bank.flush(batch_idx=1) is None
    assert bank.poll() == bank.close() == []


def _child(bank, queue):
    spec = bank.spec
    bank.record_step(*random_step(spec, 2, 9))
    bank.record_scalar("reward", torch.ones(1))
    queue.put((bank.flush(batch_idx=9), bank.poll(), bank.close(), len(bank._held.pending)))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_child_has_a_bank_that_does_nothing_and_its_parent_loses_nothing():
    spec = spec_of(2, scalars=("reward",))
    bank = DeviceCounters(spec, strict=True)
    steps = [random_step(spec, 2, seed) for seed in range(2)]
    bank.record_step(*steps[0])
    bank.flush(batch_idx=1)
    bank.record_step(*steps[1])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(bank, queue))
    child.start()
    assert queue.get(timeout=60) == (None, [], [], 0)
    child.join()
    assert [counts_of(one) for one in bank.close()] == [count(spec, [step]) for step in steps]


def test_threads_with_a_bank_each_count_exactly():
    spec = spec_of(4)
    results = {}

    def train(number):
        bank = DeviceCounters(spec, strict=True)
        steps = [random_step(spec, 5, 100 * number + seed) for seed in range(20)]
        record_all(bank, steps)
        results[number] = (counts_of(bank.flush(batch_idx=1).result()), count(spec, steps))

    threads = [threading.Thread(target=train, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(found == expected for found, expected in results.values())


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "eager"},
        {"guard": "sometimes"},
        {"slots": 0},
        {"max_pending_bytes": 0},
        {"device": "meta"},
        {"steps": True},
        {"steps": True, "mode": "inline"},
    ],
)
def test_an_option_that_cannot_be_used_is_refused_by_the_constructor(options):
    with pytest.raises(CounterError):
        DeviceCounters(spec_of(1), **options)


def test_a_bank_on_the_default_device_of_a_context_is_still_where_it_was_asked_to_be():
    with torch.device("meta"):
        bank = DeviceCounters(spec_of(2), "cpu")
    step = random_step(bank.spec, 3, 0)
    bank.record_step(*step)
    assert counts_of(bank.flush(batch_idx=1).result()) == count(bank.spec, [step])
