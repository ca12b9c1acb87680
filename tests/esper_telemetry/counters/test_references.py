"""What a reference cannot keep is copied, given back, or said: named with its place, counted, and in the snapshot.

The matrix of idioms and forms is in test_matrix; here is what a bank does about them.
"""

from __future__ import annotations

import pytest
import torch

from esper_telemetry.counters import DeviceCounters
from esper_telemetry.errors import CounterError
from tests.esper_telemetry.counters.launches import OnlyQueued
from tests.esper_telemetry.counters.naive import by_head, count, counts_of, random_step, spec_of

LOGGER = "esper_telemetry.counters"
SPEC = spec_of(2)


def messages(caplog):
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]


def bank_without_bytes(spec=SPEC, **options):
    """Return a bank that cannot hold the bytes of its references, as one on an accelerator."""
    bank = DeviceCounters(spec, **options)
    bank._held.copying = False
    return bank


def test_a_write_after_the_record_is_an_error_that_names_head_and_record():
    bank = bank_without_bytes(strict=True)
    steps = [by_head(SPEC, random_step(SPEC, 4, seed)) for seed in range(3)]
    for step in steps:
        bank.record_step(*step)
    steps[1][1]["slot"].fill_(value=True)
    with pytest.raises(CounterError, match=r"masks of head 'slot' was written in place after record 1 .*mode='inline'"):
        bank.flush(batch_idx=1)


def test_a_written_record_is_left_out_counted_and_said_once(caplog):
    bank = bank_without_bytes()
    steps = [random_step(SPEC, 4, seed, wild=False) for seed in range(4)]
    for step in steps:
        bank.record_step(*step)
    steps[0][0].zero_()
    steps[2][2].zero_()
    found = bank.flush(batch_idx=1).result()
    assert counts_of(found) == count(SPEC, [steps[1], steps[3]])
    assert (found.left_out, found.doubtful) == (8, 0)
    assert found.misuse == {"overwritten": 2}
    (message,) = messages(caplog)
    assert "actions (packed)" in message


@pytest.mark.parametrize("guard", ["auto", "always"])
@pytest.mark.parametrize("form", ["packed", "dict"])
def test_on_the_host_nothing_that_is_written_later_is_seen_in_any_window(form, guard, caplog):
    bank = DeviceCounters(SPEC, strict=True, guard=guard)
    for batch in range(8):
        steps = [random_step(SPEC, 4, 10 * batch + seed, wild=False) for seed in range(4)]
        expected = count(SPEC, steps)
        for step in steps:
            given = step if form == "packed" else by_head(SPEC, step)
            bank.record_step(*given)
            for part in (*step, *(one for heads in given[:2] if form == "dict" for one in heads.values())):
                part.data.zero_()
        found = bank.flush(batch_idx=batch).result()
        assert counts_of(found) == expected
        assert (found.left_out, found.doubtful, found.misuse, messages(caplog)) == (0, 0, {}, [])


def test_off_keeps_references_and_looks_at_nothing():
    bank = DeviceCounters(SPEC, guard="off")
    step = random_step(SPEC, 4, 0)
    bank.record_step(*step)
    assert bank._held.pending[0][0] is step[0]
    step[0].zero_()
    found = bank.flush(batch_idx=1).result()
    assert found.action_count["op"][0] == 4
    assert found.misuse == {}


@pytest.mark.parametrize("number", [2, 3, 5])
def test_a_ring_costs_what_is_written_before_it_is_seen_and_nothing_later(number):
    bank = bank_without_bytes()
    ring = [random_step(SPEC, 4, 0) for _ in range(number)]
    lost = []
    for batch in range(4):
        expected = []
        for seed in range(10):
            new = random_step(SPEC, 4, 100 * batch + seed)
            for buffer, part in zip(ring[seed % number], new, strict=True):
                buffer.copy_(part)
            bank.record_step(*ring[seed % number])
            expected.append(new)
        found = bank.flush(batch_idx=batch).result()
        lost.append(found.left_out)
        assert counts_of(found) == count(SPEC, expected[found.left_out // 4 :])
    assert lost == [4 * number, 0, 0, 0]


def test_a_record_is_copied_in_one_call_and_into_memory_that_is_used_again():
    bank = bank_without_bytes()
    rollout = [torch.stack(column) for column in zip(*(random_step(SPEC, 4, seed) for seed in range(50)), strict=True)]
    rows = set()
    for batch in range(5):
        with OnlyQueued() as asked:
            for t in range(50):
                bank.record_step(*(column[t] for column in rollout))
        if batch:
            assert [name for name in asked.names if name != "select"] == ["_foreach_copy_"] * 50
        rows.add(bank._held.pending[0][0].data_ptr())
        assert bank.flush(batch_idx=batch).result().steps == 50
    assert len(rows) == 1


def test_a_batch_of_a_data_loader_worker_is_not_held(tmp_path):
    from torch.utils.data import DataLoader

    bank = DeviceCounters(spec_of(1, scalars=("x",)))
    loader = DataLoader(torch.arange(8).float(), batch_size=4, num_workers=1, multiprocessing_context="fork")
    for batch in loader:
        bank.record_scalar("x", batch)
        bank.record_scalar("x", batch[1])
        assert bank._held.pending == [], "its bytes are copied"
    assert bank.flush(batch_idx=1).result().scalars["x"].sum == 28 + 1 + 5


def test_keeping_that_fails_costs_the_record_and_is_said(monkeypatch):
    bank = bank_without_bytes()
    step = random_step(SPEC, 4, 0)
    bank.record_step(*step)

    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "_foreach_copy_", fail)
    bank.record_step(*(part[:2] for part in step))
    monkeypatch.undo()
    bank.record_step(*(part.clone() for part in step))
    found = bank.flush(batch_idx=1).result()
    assert counts_of(found) == count(SPEC, [step, step])
    assert (found.left_out, found.misuse) == (2, {"failed": 1})
