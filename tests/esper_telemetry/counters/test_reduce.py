"""Ranks: each for itself by default, or added into the first one of a process group: uneven, or with one that dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from datetime import timedelta

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing

from esper_telemetry.counters import DeviceCounters
from esper_telemetry.counters.state import current_rank
from tests.esper_telemetry.counters.naive import count, counts_of, random_step, spec_of

# The modules that every rank needs are imported once, in the server that forks the ranks.
RANKS = torch.multiprocessing.get_context("forkserver")
RANKS.set_forkserver_preload(["torch.distributed", __name__])
WORLD = 4
BATCHES = 6
SPEC = spec_of(3, scalars=("reward", "silent"))


def steps_of(rank, batch):
    """Return the steps of a rank: uneven in number and in width, and none at all in some batches."""
    return [random_step(SPEC, 1 + rank, 1000 * rank + 10 * batch + seed) for seed in range((rank + batch) % 3)]


def rewards_of(rank, batch):
    return torch.tensor([1e6 + rank, 1e6 + batch / 7])


def train(rank, folder, queue):
    """Record and flush on one rank; the first one takes nothing until the end, so that flushes coalesce."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORLD)
    alone = DeviceCounters(SPEC)
    together = DeviceCounters(SPEC, process_group=dist.group.WORLD)
    for batch in range(BATCHES):
        for step in steps_of(rank, batch):
            alone.record_step(*step)
            together.record_step(*step)
        together.record_scalar("reward", rewards_of(rank, batch))
        if rank == 3 and batch == 1:
            together.record_scalar("rewrad", torch.ones(2))
        together.flush(batch_idx=batch)
    alone.flush(batch_idx=BATCHES)
    ours = alone.close()
    everyone = together.close()
    queue.put(
        {
            "rank": rank,
            "alone": [(one.rank, counts_of(one)) for one in ours],
            "together": [
                (one.first_batch_idx, one.batch_idx, counts_of(one), one.scalars, one.misuse, one.values_left_out)
                for one in everyone
            ],
        }
    )
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    queue = RANKS.Queue()
    folder = str(tmp_path_factory.mktemp("gloo"))
    ranks = [RANKS.Process(target=train, args=(rank, folder, queue)) for rank in range(WORLD)]
    for rank in ranks:
        rank.start()
    found = sorted((queue.get(timeout=240) for _ in ranks), key=lambda one: one["rank"])
    for rank in ranks:
        rank.join(timeout=60)
    assert [rank.exitcode for rank in ranks] == [0] * WORLD
    return found


def test_each_rank_reports_its_own_counts_by_default(results):
    for rank, result in enumerate(results):
        mine = [step for batch in range(BATCHES) for step in steps_of(rank, batch)]
        assert result["alone"] == [(rank, count(SPEC, mine))]


def test_with_a_process_group_the_first_rank_has_all_counts_once(results):
    assert [result["together"] for result in results[1:]] == [[]] * (WORLD - 1)
    spans = [(0, 0), (1, 1), (2, BATCHES - 1)]
    assert [one[:2] for one in results[0]["together"]] == spans, "two slots, and the rest coalesced"
    for (first, last), (_, _, counts, scalars, misuse, left_out) in zip(spans, results[0]["together"], strict=True):
        batches = range(first, last + 1)
        steps = [step for batch in batches for rank in range(WORLD) for step in steps_of(rank, batch)]
        assert counts == count(SPEC, steps)
        assert (misuse, left_out) == (({"misfit": 1}, 2) if first == 1 else ({}, 0)), "another rank's is here too"
        values = np.concatenate([rewards_of(rank, batch).double() for batch in batches for rank in range(WORLD)])
        reward = scalars["reward"]
        assert (reward.count, reward.min, reward.max) == (len(values), values.min(), values.max())
        assert reward.mean == pytest.approx(values.mean(), rel=1e-14)
        assert reward.std == pytest.approx(values.std(), rel=1e-9)
        assert "silent" not in scalars


def test_a_process_without_ranks_is_rank_zero(monkeypatch):
    for name in ("RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    assert current_rank() == 0


@pytest.mark.parametrize(("value", "rank"), [("3", 3), ("0", 0), ("three", 0), ("-1", 0), ("", 0)])
def test_torchruns_variable_is_the_rank_before_a_group_is_made(monkeypatch, value, rank):
    monkeypatch.setenv("RANK", value)
    assert current_rank() == rank
    assert DeviceCounters(SPEC).rank == rank


def die(rank, folder, queue):
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=3, timeout=timedelta(seconds=20)
    )
    bank = DeviceCounters(SPEC, process_group=dist.group.WORLD)
    step = random_step(SPEC, 2, rank)
    bank.record_step(*step)
    bank.flush(batch_idx=0)
    if rank == 2:
        os._exit(9)
    bank.record_step(*step)
    bank.flush(batch_idx=1)  # the group is broken: nobody can add the ranks up any more
    bank.record_step(*step)
    bank.flush(batch_idx=2)
    queue.put((rank, dict(bank.misuse), [(one.batch_idx, one.rows["op"]) for one in bank.close() if one.rows]))
    queue.close()
    queue.join_thread()
    os._exit(0)  # no farewell to a broken group


def test_a_rank_that_dies_stops_no_other_and_is_said(tmp_path):
    queue = RANKS.Queue()
    ranks = [RANKS.Process(target=die, args=(rank, str(tmp_path), queue)) for rank in range(3)]
    for rank in ranks:
        rank.start()
    found = {rank: (misuse, rows) for rank, misuse, rows in (queue.get(timeout=240) for _ in range(2))}
    for rank in ranks:
        rank.join(timeout=60)
    assert set(found) == {0, 1}
    assert [misuse.get("failed") for misuse, _ in found.values()] == [1, 1], "said once; then each reports its own"
    assert found[0][1][0] == (0, 6), "the batch before is whole"
    total = sum(rows for _, taken in found.values() for _, rows in taken)
    assert total == 6 + 8, "what the two have left is all there, and nothing of it twice"


TORCHRUN = """
import json, sys
import torch
import torch.distributed as dist
from esper_telemetry.counters import CounterSpec, DeviceCounters

bank = DeviceCounters(CounterSpec({"op": 2}))
before = bank.rank
dist.init_process_group("gloo")
group = DeviceCounters(CounterSpec({"op": 2}), process_group=dist.group.WORLD)
group.record_step(torch.tensor([dist.get_rank() % 2]), None)
group.flush(batch_idx=1)
found = [one.action_count["op"] for one in group.close()]
sys.stdout.write(json.dumps([dist.get_rank(), before, group.rank, found]) + "\\n")  # one write: ranks share the pipe
sys.stdout.flush()
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_under_torchrun_ranks_are_its_own_and_counts_are_added(tmp_path):
    script = tmp_path / "loop.py"
    script.write_text(textwrap.dedent(TORCHRUN), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-5000:]
    lines = sorted(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    assert lines == [[0, 0, 0, [[1, 1]]], [1, 1, 1, []]]
