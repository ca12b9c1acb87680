"""Records on the host are copied at the call, by no operation: right whoever owns the memory."""

from __future__ import annotations

import pytest
import torch

from esper.v1 import trainer_pb2
from esper_telemetry.counters import CounterSpec, DeviceCounters, StepRow, stacks
from tests.esper_telemetry.counters.launches import OnlyQueued
from tests.esper_telemetry.counters.naive import by_head, count, counts_of, random_step, spec_of

SPEC = spec_of(2)
HEADS = {"op": ("WAIT", "GERMINATE", "CULL")}
ROW = StepRow(trainer_pb2.ActionTaken, actions={"op": "op"}, success="action_success")


def test_one_buffer_that_is_written_without_trace_is_counted_at_each_call_by_no_operation():
    bank = DeviceCounters(SPEC)
    buffer = random_step(SPEC, 4, 0)
    for batch in range(6):  # beyond the windows that hold the bytes of references
        expected = []
        for seed in range(5):
            new = random_step(SPEC, 4, 10 * batch + seed)
            for part, value in zip(buffer, new, strict=True):
                part.data.copy_(value)
            with OnlyQueued() as asked:
                bank.record_step(*buffer)
            assert asked.names == []
            expected.append(new)
        found = bank.flush(batch_idx=batch).result()
        assert counts_of(found) == count(SPEC, expected)
        assert (found.left_out, found.doubtful, found.misuse) == (0, 0, {})


def test_records_that_are_not_contiguous_are_copied_in_the_order_of_their_elements():
    bank = DeviceCounters(SPEC)
    steps = [random_step(SPEC, 4, seed) for seed in range(3)]
    for actions, masks, success in steps:
        turned = actions.t().contiguous().t(), masks.repeat_interleave(2, 1)[:, ::2], success
        bank.record_step(*turned)
        turned[0].data.zero_()
    assert counts_of(bank.flush(batch_idx=1).result()) == count(SPEC, steps)


def test_memory_grows_with_the_window_and_is_folded_early_where_no_more_is_allowed():
    for most in (1, 4096, 1 << 25):
        bank = DeviceCounters(SPEC, max_pending_bytes=most)
        steps = [random_step(SPEC, 16, seed) for seed in range(700)]
        for batch in range(2):
            for step in steps:
                bank.record_step(*step)
            found = bank.flush(batch_idx=batch).result()
            assert counts_of(found) == count(SPEC, steps)
            assert found.steps == len(steps)


def test_more_sizes_than_memory_is_kept_for_are_counted_all_the_same():
    bank = DeviceCounters(SPEC)
    steps = [random_step(SPEC, 1 + seed % 7, seed) for seed in range(30)]
    for step in steps:
        bank.record_step(*step)
    assert counts_of(bank.flush(batch_idx=1).result()) == count(SPEC, steps)


def test_a_record_that_does_not_fit_is_said_and_one_whose_memory_was_taken_away_is_not_read():
    bank = DeviceCounters(SPEC)
    step = random_step(SPEC, 4, 0)
    bank.record_step(*step)
    bank.record_step(step[0].float(), *step[1:])
    found = bank.flush(batch_idx=1).result()
    assert (found.left_out, found.misuse) == (4, {"misfit": 1})
    assert counts_of(found) == count(SPEC, [step])
    gone = [part.clone() for part in step]
    gone[0].untyped_storage().resize_(0)
    bank.record_step(*step)
    assert not bank._held.stack.add_packed(*gone)
    assert not bank._held.stack.add((*gone, None, None))


def test_a_fold_that_fails_costs_the_records_of_the_stack_and_says_how_many(monkeypatch):
    bank = DeviceCounters(SPEC)
    for seed in range(3):
        bank.record_step(*random_step(SPEC, 4, seed))
    with monkeypatch.context() as patched:
        patched.setattr(stacks.Stack, "joined", lambda _: 1 / 0)
        found = bank.flush(batch_idx=1).result()
    assert (found.left_out, found.misuse) == (12, {"failed": 3})
    step = random_step(SPEC, 4, 9)
    bank.record_step(*step)
    assert counts_of(bank.flush(batch_idx=2).result()) == count(SPEC, [step])


@pytest.mark.parametrize(
    "contexts",
    [
        [{"inner_epoch": number} for number in range(4)],
        [{"inner_epoch": 1}, {}, {"inner_epoch": 2}, {}],
        [{"inner_epoch": number, "episode": [number, 5, 6]} for number in range(4)],
        [{}] * 4,
    ],
)
def test_detail_has_each_row_with_its_context(contexts):
    spec = CounterSpec(HEADS, row=ROW)
    rows = []
    for mode in ("auto", "off"):  # "off" keeps references
        bank = DeviceCounters(spec, steps=True, guard=mode)
        for seed, context in enumerate(contexts):
            actions, masks, success = random_step(spec, 3, seed, wild=False)
            bank.record_step(actions, masks, success, **context)
        blocks = bank.flush(batch_idx=1).result().blocks
        rows.append([{key: value for key, value in block.items() if "time" not in key} for block in blocks])
    assert rows[0] == rows[1]
    assert sum(block["steps"] for block in rows[0]) == len(contexts)


class Wrapped(torch.Tensor):
    """A subclass as libraries have them."""


ODD = {
    "turned": lambda a, m, s: (a.t().contiguous().t(), m, s),
    "every second": lambda a, m, s: (a.repeat_interleave(2, 0)[::2], m.repeat_interleave(2, 1)[:, ::2], s),
    "narrow": lambda a, m, s: (a.int(), m, s),
    "expanded": lambda a, m, s: (a[:1].expand(4, 2), m[:1].expand(4, 9), s[:1].expand(4)),
    "subclass": lambda a, m, s: (a.as_subclass(Wrapped), m.as_subclass(Wrapped), s),
    "parameter": lambda a, m, s: (torch.nn.Parameter(a, requires_grad=False), m, s),
    "inference": lambda a, m, s: torch.inference_mode()(lambda: (a.clone(), m.clone(), s.clone()))(),
    "with valid": lambda a, m, s: (a, m, s, None, torch.ones(4, dtype=torch.bool)),
    "no success": lambda a, m, s: (a, m),
    "dicts": lambda a, m, s: by_head(SPEC, (a, m, s)),
    "other order": lambda a, m, s: tuple(dict(reversed(one.items())) for one in by_head(SPEC, (a, m, s))[:2]),
    "fewer": lambda a, m, s: (a[:3], m[:3], s[:3]),
}


@pytest.mark.parametrize("guards", [True, False], ids=["guards of torch", "none"])
@pytest.mark.parametrize("odd", ODD)
def test_a_record_that_is_unlike_the_one_before_is_counted_as_what_it_is(odd, guards, monkeypatch):
    if not guards:
        monkeypatch.delattr(torch._C._dynamo, "guards")
    bank = DeviceCounters(SPEC, strict=True)
    expected = {"chosen": torch.zeros(2, 9, dtype=torch.long), "rows": 0}
    for seed in range(8):
        step = random_step(SPEC, 4, seed, wild=False)
        given = ODD[odd](*step) if seed % 3 else step
        actions = (
            given[0] if not isinstance(given[0], dict) else torch.stack([given[0][head] for head in SPEC.heads], 1)
        )
        for head in range(2):
            expected["chosen"][head] += torch.bincount(actions[:, head].long(), minlength=9)
        expected["rows"] += len(actions)
        args, keywords = given[:3], {"valid": given[4]} if len(given) > 4 else {}
        bank.record_step(*args, **keywords)
        for part in step:
            part.data.zero_()
    found = bank.flush(batch_idx=1).result()
    assert (found.rows["op"], found.left_out, found.doubtful) == (expected["rows"], 0, 0)
    for head, counts in enumerate(found.action_count.values()):
        assert counts == expected["chosen"][head][: len(counts)].tolist()


def test_a_view_that_negates_what_is_in_memory_is_counted_as_its_values():
    bank = DeviceCounters(spec_of(1, scalars=("x",)))
    numbers = torch.tensor([1 + 2j, 3 + 4j])
    for one in (numbers.imag.clone(), numbers.conj().imag, numbers.conj().imag):
        bank.record_scalar("x", one)
    assert bank.flush(batch_idx=1).result().scalars["x"].sum == -6.0


def test_values_and_their_weights_are_counted_as_they_were_at_the_call():
    bank = DeviceCounters(spec_of(1, scalars=("x",), histograms={"h": (0.0,)}))
    value, weight, half = torch.ones(3), torch.tensor([1.0, 0.0, 2.0]), torch.tensor(0.5)
    with OnlyQueued() as asked:
        for _ in range(4):
            bank.record_scalar("x", value, weight)
            bank.record_scalar("x", value, half)
            bank.record_scalar("h", value[0], weight[1])
    value.zero_()
    weight.zero_()
    half.zero_()
    assert [name for name in asked.names if name != "select"] == []
    found = bank.flush(batch_idx=1).result()
    assert (found.scalars["x"].count, found.scalars["x"].sum, found.scalars["x"].weight) == (20, 18.0, 18.0)
    assert found.histograms == {}, "a weight of 0 leaves a value out"


def test_a_name_of_a_value_that_is_none_is_reported_and_raises_nothing():
    bank = DeviceCounters(spec_of(1, scalars=("x",)))
    bank.record_scalar("x", torch.ones(1))
    bank.record_scalar(["x"], torch.ones(2))
    found = bank.flush(batch_idx=1).result()
    assert (found.scalars["x"].count, found.values_left_out, found.misuse) == (1, 2, {"misfit": 1})
