"""Against a device that executes nothing until it is told to: no wait, no loss, no count twice."""

from __future__ import annotations

import random

import pytest
import torch

from esper_telemetry.counters import DeviceCounters
from esper_telemetry.counters.readback import Reader
from tests.esper_telemetry.counters import simgpu
from tests.esper_telemetry.counters.naive import count, counts_of, random_step, spec_of

SCHEDULES = 1000


@pytest.fixture
def chip():
    simgpu.load()
    chip = simgpu.Chip()
    with simgpu.SimMode(chip):
        yield chip


def on_device(chip, steps):
    moved = [tuple(part.to("simgpu:0") for part in step) for step in steps]
    chip.run()
    return moved


def bank_on(chip, spec, **options):
    bank = DeviceCounters(spec, "simgpu:0", backend=simgpu.SimBackend(chip), strict=True, **options)
    chip.run()
    chip.copies_to_host = chip.bytes_to_host = 0
    return bank


def test_a_frozen_device_never_makes_the_loop_wait(chip):
    spec = spec_of(8, scalars=("reward",), histograms={"td": (-1.0, 0.0, 1.0)})
    batches = [[random_step(spec, 16, 100 * batch + seed) for seed in range(16)] for batch in range(4)]
    device = [on_device(chip, steps) for steps in batches]
    rewards = torch.arange(16.0).to("simgpu:0")
    chip.run()
    bank = bank_on(chip, spec)
    chip.frozen = True
    pending = []
    for number in range(3):
        for step in device[number]:
            bank.record_step(*step)
            bank.record_scalar("reward", rewards.clone())
            bank.record_scalar("td", rewards.clone())
        pending.append(bank.flush(batch_idx=number + 1))
        assert bank.poll() == []
    assert chip.waits == []
    assert [one is not None for one in pending] == [True, True, False], "the third flush is coalesced"
    assert not pending[0].done()
    assert chip.copies_to_host == 2
    assert chip.bytes_to_host == 2 * bank.state.buffer.nbytes
    with pytest.raises(simgpu.HostWaitError):
        pending[0].result()
    with pytest.raises(simgpu.HostWaitError):
        bank.close()
    chip.frozen = False
    chip.run()
    first, second, rest = bank.poll()
    assert counts_of(first) == count(spec, batches[0])
    assert counts_of(second) == count(spec, batches[1])
    assert counts_of(rest) == count(spec, batches[2])
    assert first.scalars["reward"].sum == 16 * sum(range(16))
    assert first.histograms["td"].counts == [0, 0, 16, 15 * 16]


def test_a_snapshot_is_readable_as_soon_as_its_own_copy_has_arrived(chip):
    spec = spec_of(3)
    steps = [random_step(spec, 4, seed) for seed in range(2)]
    device = on_device(chip, steps)
    bank = bank_on(chip, spec)
    first, second = (bank.record_step(*step) or bank.flush(batch_idx=number) for number, step in enumerate(device))
    while not first.done():
        assert chip.run(1) == 1
    assert not second.done()
    assert [counts_of(one) for one in bank.poll()] == [count(spec, steps[:1])]
    chip.run()
    assert [counts_of(one) for one in bank.poll()] == [count(spec, steps[1:])]
    assert chip.waits == []


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_a_run_waits_for_the_device_once_in_close(chip, slots):
    spec = spec_of(2)
    steps = [random_step(spec, 3, seed) for seed in range(30)]
    bank = bank_on(chip, spec, slots=slots)
    taken = []
    for number, step in enumerate(on_device(chip, steps)):
        bank.record_step(*step)
        if number % 3 == 2:
            bank.flush(batch_idx=number)
            chip.run(7)
            taken += bank.poll()
    taken += bank.close()
    assert len(chip.waits) <= 1
    assert sum(one.steps for one in taken) == 30


def run_schedule(chip, bank, steps, rng):
    """Record `steps` while the device lags as `rng` will, and return everything that was handed over."""
    taken = []
    for step in steps:
        bank.record_step(*step)
        chip.run(rng.randrange(3), rng)
        if rng.random() < 0.4:
            bank.flush(batch_idx=1)
        chip.run(rng.randrange(40), rng)
        if rng.random() < 0.5:
            taken += bank.poll()
    return taken + bank.close()


def lost_or_doubled(chip, spec, batches, totals, seed, **options):
    rng = random.Random(seed)
    number = rng.randrange(len(batches))
    bank = bank_on(chip, spec, slots=rng.randrange(1, 4), guard="off", **options)
    taken = run_schedule(chip, bank, batches[number], rng)
    cells = [sum(column) for column in zip(*(one.ints for one in taken), strict=True)]
    return cells != totals[number]


def batches_of(chip, spec):
    hosts = [[random_step(spec, 3, 50 * batch + seed) for seed in range(5)] for batch in range(4)]
    totals = []
    for steps in hosts:
        bank = DeviceCounters(spec)
        for step in steps:
            bank.record_step(*step)
        totals.append(bank.flush(batch_idx=1).result().ints)
    return [on_device(chip, steps) for steps in hosts], totals


@pytest.mark.slow
def test_no_schedule_loses_or_doubles_a_count(chip):
    spec = spec_of(2)
    batches, totals = batches_of(chip, spec)
    wrong = [seed for seed in range(SCHEDULES) if lost_or_doubled(chip, spec, batches, totals, seed)]
    assert wrong == []


def test_the_same_schedules_find_a_reset_that_is_not_ordered_behind_its_copy(chip, monkeypatch):
    def reset_elsewhere(self):
        with chip.on(elsewhere):
            self._state.buffer.copy_(self._empty)

    spec = spec_of(2)
    batches, totals = batches_of(chip, spec)
    elsewhere = chip.new_lane()
    monkeypatch.setattr(Reader, "reset", reset_elsewhere)
    tried = SCHEDULES // 5
    wrong = sum(lost_or_doubled(chip, spec, batches, totals, seed) for seed in range(tried))
    assert wrong > tried / 2, f"only {wrong} of {tried} schedules noticed"


def test_inline_counting_never_makes_a_frozen_device_wait(chip):
    spec = spec_of(8, scalars=("reward",))
    steps = [random_step(spec, 5, seed) for seed in range(3)]
    device = on_device(chip, steps)
    bank = bank_on(chip, spec, mode="inline")
    chip.frozen = True
    for step in device:
        bank.record_step(*step)
        bank.record_scalar("reward", step[2])
    pending = bank.flush(batch_idx=1)
    assert chip.waits == []
    chip.frozen = False
    chip.run()
    assert counts_of(pending.result()) == count(spec, steps)


def test_a_copy_to_pageable_memory_would_have_been_noticed(chip):
    value = torch.ones(4).to("simgpu:0")
    chip.run()
    chip.frozen = True
    value.add_(1)
    with pytest.raises(simgpu.HostWaitError):
        torch.zeros(4).copy_(value, non_blocking=True)
    for reads in (torch.Tensor.item, torch.Tensor.cpu, torch.nonzero, torch.bincount):
        with pytest.raises(simgpu.HostWaitError):
            reads(value[:1])
