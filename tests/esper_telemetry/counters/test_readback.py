"""A copy takes a free slot, brings every cell, and leaves empty accumulators behind."""

from __future__ import annotations

import pytest
import torch

from esper_telemetry.counters import new_state, update_
from esper_telemetry.counters.misuse import Misuse
from esper_telemetry.counters.readback import CpuBackend, Reader
from esper_telemetry.counters.snapshot import Tag
from tests.esper_telemetry.counters.naive import random_step, spec_of

TAG = Tag(1, 1, 0, 0, "cpu")


def reader_of(spec, slots):
    state = new_state(spec, "cpu")
    misuse = Misuse(strict=False)
    return Reader(spec, state, CpuBackend(), slots=slots, detail=None, detail_bytes=0, misuse=misuse), state


def test_a_copy_brings_every_cell_and_resets_the_accumulators():
    spec = spec_of(2, scalars=("a",))
    reader, state = reader_of(spec, 1)
    empty = state.buffer.clone()
    update_(state, *random_step(spec, 4, 0))
    filled = state.buffer.clone()
    snapshot = reader.start(TAG).read()
    assert snapshot.ints == filled[: state.layout.int_cells].tolist()
    assert snapshot.reals == filled[state.layout.int_cells :].view(torch.float64).tolist()
    assert torch.equal(state.buffer, empty)


def test_a_slot_is_taken_until_its_copy_is_read_and_one_is_kept_for_the_end():
    reader, _ = reader_of(spec_of(1), 2)
    copies = [reader.start(TAG) for _ in range(3)]
    assert len({id(copy.slot) for copy in copies}) == 3
    with pytest.raises(StopIteration):
        reader.start(TAG)
    copies[1].read()
    assert reader.start(TAG).slot is copies[1].slot


def test_reading_a_snapshot_later_does_not_see_the_next_batch():
    spec = spec_of(1)
    reader, state = reader_of(spec, 2)
    update_(state, *random_step(spec, 4, 0))
    copy = reader.start(TAG)
    update_(state, *random_step(spec, 9, 1))
    reader.start(TAG)
    assert copy.read().rows == {"op": 4}
