"""Trainers, agents and the collector are killed at random; afterwards everything is where it belongs, once."""

import os
import random
import re
import time

import pytest

from esper_telemetry import StreamOptions
from esper_telemetry.recorder.agent_process import start_agent
from esper_telemetry.recordfile import list_run
from tests.esper_telemetry.uplink.trainers import Trainer, end_trainer, kill_agent, send

PLAN = ["collector"] * 6 + ["agent"] * 4 + ["trainer"] * 2


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_random_kills_lose_nothing_and_double_nothing(collector, kit, tmp_path, seed):
    rng = random.Random(seed)
    trainers = [Trainer(tmp_path / "runs", collector.address, steps=10**6, pause=0.001) for _ in range(3)]
    started = []
    try:
        for what in rng.sample(PLAN, len(PLAN)):
            time.sleep(rng.uniform(0.1, 0.6))
            if what == "collector":
                collector.kill()
                time.sleep(rng.uniform(0, 0.3))
                collector.start()
            elif what == "agent":
                victim = rng.choice(trainers)
                for pid in set(re.findall(r"\[(\d+)\]", victim.log)):
                    kill_agent(int(pid))
                started.append(start_agent(victim.folder, collector.address, StreamOptions(), temporary=False))
            else:
                rng.choice(trainers).process.kill()
    finally:
        for trainer in trainers:
            end_trainer(trainer)
        for pid in started:
            kill_agent(pid)
            os.waitpid(pid, 0)
    for trainer in trainers:
        (report,) = send(trainer.folder, collector.address)
        assert report.error == ""
        assert report.skipped == {}
        local = kit.frames(list_run(trainer.folder))
        assert len(local) > 3
        assert collector.frames(trainer.run_id) == local
        (again,) = send(trainer.folder, collector.address)
        assert again.frames == 0
