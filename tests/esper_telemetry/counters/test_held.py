"""Recording is one append; now and then a look bounds the memory that the references hold."""

from __future__ import annotations

import pytest
import torch

from esper_telemetry.counters import DeviceCounters
from esper_telemetry.counters.held import HeldRecords
from tests.esper_telemetry.counters.naive import by_head, count, counts_of, random_step, spec_of


def test_memory_is_bounded_when_nobody_exports():
    spec = spec_of(8)
    limit = 64 * 1024
    bank = DeviceCounters(spec, max_pending_bytes=limit)
    steps = [random_step(spec, 16, seed) for seed in range(8)]
    most = 0
    for number in range(400):
        bank.record_step(*(part.clone() for part in steps[number % 8]))
        most = max(most, len(bank._held.pending))
        if number % 100 == 99:
            bank.flush(batch_idx=number)
    assert most * (16 * 8 * 8 + 16 * 41) < 1.3 * limit
    assert sum(one.steps for one in bank.close()) == 400


def test_growing_steps_are_folded_before_they_hold_much_more_than_the_limit():
    spec = spec_of(8)
    limit = 1024 * 1024
    bank = DeviceCounters(spec, max_pending_bytes=limit, guard="off")
    held = most = 0
    for number in range(600):
        step = random_step(spec, 1 if number < 300 else 256, number)
        bank.record_step(*step)
        held = held + sum(part.nbytes for part in step) if len(bank._held.pending) > 1 else 0
        most = max(most, held)
    assert most < 9 * limit
    assert bank.flush(batch_idx=1).result().rows["op"] == 300 + 300 * 256


def test_gradients_of_a_recorded_value_are_let_go():
    spec = spec_of(1, scalars=("loss",))
    bank = DeviceCounters(spec, guard="off")
    weight = torch.ones(3, requires_grad=True)
    bank.record_scalar("loss", (weight * 2).sum())
    bank.record_step(*random_step(spec, 1, 0), scalars={"loss": weight.sum()})
    assert not any(
        tensor.requires_grad for entry in bank._held.pending for tensor in entry if isinstance(tensor, torch.Tensor)
    )
    assert bank._held.pending[1][4]["loss"].grad_fn is None
    assert bank.flush(batch_idx=1).result().scalars["loss"].sum == 9.0


def test_an_unwatched_window_is_looked_at_a_few_times_only(monkeypatch):
    spec = spec_of(2)
    bank = DeviceCounters(spec, guard="off")
    looks = []
    real = HeldRecords._look
    monkeypatch.setattr(HeldRecords, "_look", lambda self: looks.append(len(self.pending)) or real(self))
    steps = [random_step(spec, 4, seed) for seed in range(8)]
    for number in range(600):
        bank.record_step(*steps[number % 8])
    assert looks == [1, 257, 513]
    bank.flush(batch_idx=1)
    looks.clear()
    for number in range(200):
        bank.record_step(*steps[number % 8])
    assert looks == [1], "the size of a record is known by now"


@pytest.mark.parametrize("form", ["packed", "dict"])
def test_a_recorded_step_is_kept_as_it_was_given(form):
    spec = spec_of(2)
    step = random_step(spec, 4, 0)
    given = step if form == "packed" else by_head(spec, step)
    bank = DeviceCounters(spec, guard="off")
    bank.record_step(*given, inner_epoch=3)
    (entry,) = bank._held.pending
    assert all(kept is one for kept, one in zip(entry, given, strict=False))
    assert entry[3:] == (None, None, {"inner_epoch": 3}, 0)
    assert counts_of(bank.flush(batch_idx=1).result()) == count(spec, [step])


def test_an_inline_bank_holds_no_reference():
    spec = spec_of(2, scalars=("reward",))
    bank = DeviceCounters(spec, mode="inline")
    bank.record_step(*random_step(spec, 4, 0))
    bank.record_scalar("reward", torch.ones(2))
    assert bank._held.pending == []
