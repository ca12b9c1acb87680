"""Ranks: each for itself by default, added into the first one when a process group is given."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing

from esper_telemetry.counters import DeviceCounters
from esper_telemetry.counters.reduce import current_rank
from tests.esper_telemetry.counters.naive import count, counts_of, random_step, spec_of

WORLD = 2
BATCHES = 6


def steps_of(spec, rank, batch):
    return [random_step(spec, 5, 1000 * rank + 10 * batch + seed) for seed in range(3)]


def train(rank, folder, queue):
    """Record and flush on one rank; the first one takes nothing until the end, so that flushes coalesce."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORLD)
    spec = spec_of(3, scalars=("reward",))
    alone = DeviceCounters(spec)
    together = DeviceCounters(spec, process_group=dist.group.WORLD)
    for batch in range(BATCHES):
        for step in steps_of(spec, rank, batch):
            alone.record_step(*step)
            together.record_step(*step, scalars={"reward": torch.tensor([float(rank), float(batch)])})
        together.flush(batch_idx=batch)
    alone.flush(batch_idx=BATCHES)
    ours = alone.close()
    everyone = together.close()
    queue.put(
        {
            "rank": rank,
            "alone": [(one.rank, counts_of(one)) for one in ours],
            "together": [(one.first_batch_idx, one.batch_idx, counts_of(one), one.scalars) for one in everyone],
        }
    )
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    context = torch.multiprocessing.get_context("spawn")
    queue = context.Queue()
    folder = str(tmp_path_factory.mktemp("gloo"))
    ranks = [context.Process(target=train, args=(rank, folder, queue)) for rank in range(WORLD)]
    for rank in ranks:
        rank.start()
    found = sorted((queue.get(timeout=120) for _ in ranks), key=lambda one: one["rank"])
    for rank in ranks:
        rank.join(timeout=60)
    assert [rank.exitcode for rank in ranks] == [0] * WORLD
    return found


def test_each_rank_reports_its_own_counts_by_default(results):
    spec = spec_of(3, scalars=("reward",))
    for rank, result in enumerate(results):
        mine = [step for batch in range(BATCHES) for step in steps_of(spec, rank, batch)]
        assert result["alone"] == [(rank, count(spec, mine))]


def test_with_a_process_group_the_first_rank_has_all_counts_once(results):
    spec = spec_of(3, scalars=("reward",))
    assert results[1]["together"] == []
    spans = [(0, 0), (1, 1), (2, BATCHES - 1)]
    assert [one[:2] for one in results[0]["together"]] == spans, "two slots, and the rest coalesced"
    for (first, last), (_, _, counts, scalars) in zip(spans, results[0]["together"], strict=True):
        batches = range(first, last + 1)
        steps = [step for batch in batches for rank in range(WORLD) for step in steps_of(spec, rank, batch)]
        assert counts == count(spec, steps)
        assert scalars["reward"].max == max(1.0, last)
        assert scalars["reward"].min == 0.0
        assert scalars["reward"].sum == sum(3.0 * (rank + batch) for rank in range(WORLD) for batch in batches)


def test_a_process_without_ranks_is_rank_zero():
    assert current_rank() == 0
