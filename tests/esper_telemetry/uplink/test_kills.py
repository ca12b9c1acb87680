"""Trainers, agents and the collector are killed at random; afterwards everything is where it belongs, once."""

import contextlib
import json
import os
import random
import re
import subprocess
import sys
import time

import pytest

from esper_telemetry import StreamOptions
from esper_telemetry.recorder.agent_process import start_agent
from esper_telemetry.recordfile import list_run
from tests.esper_telemetry.collector import process
from tests.esper_telemetry.collector.chaos import lose_power
from tests.esper_telemetry.collectorprocess import CollectorProcess
from tests.esper_telemetry.uplink.trainers import Trainer, end_trainer, kill_agent, send

PLAN = ["collector"] * 6 + ["agent"] * 4 + ["trainer"] * 2


class TornCollector(CollectorProcess):
    """A collector that loses with its life what no sync had covered, in any part.

    Attributes:
        torn: files of which something was lost.
    """

    def __init__(self, folder, rng):
        super().__init__(folder)
        self._journal = folder.with_name("journal")
        self._rng = rng
        self.torn = 0

    def start(self):
        said = {"listen": self.address, "directory": str(self.folder)}
        command = [sys.executable, process.__file__, json.dumps(said), str(self._journal)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GRPC_VERBOSITY": "NONE"}
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        assert self._process.stdout.readline(), "the collector ended at its start"
        self._process.stdout.close()
        return self

    def kill(self):
        if self._process is not None:
            super().kill()
            self.torn += lose_power(self.folder, self._journal, self._rng)


class Scene:
    """Trainers with a collector, each replaced by another one when it is killed.

    Attributes:
        trainers: all there were.
        kills: what was killed, how often.
    """

    def __init__(self, root, collector, rng, producers):
        self._root, self._collector, self._rng = root, collector, rng
        self._agents = []
        self.kills = dict.fromkeys(PLAN, 0)
        self.trainers = [self._train() for _ in range(producers)]
        self._living = list(self.trainers)

    def _train(self):
        return Trainer(self._root / "runs", self._collector.address, steps=10**6, pause=0.001)

    def kill(self, what, *, replace):
        """Kill a collector, an agent or a trainer."""
        self.kills[what] += 1
        victim = self._rng.choice(self._living)
        if what == "collector":
            self._collector.kill()
            time.sleep(self._rng.uniform(0, 0.3))
            self._collector.start()
        elif what == "agent":
            for pid in set(re.findall(r"\[(\d+)\]", victim.log)):
                kill_agent(int(pid))
            self._agents.append(start_agent(victim.folder, self._collector.address, StreamOptions(), temporary=False))
        else:
            victim.process.kill()
            if replace:
                self._living.remove(victim)
                self._living.append(self._train())
                self.trainers.append(self._living[-1])

    def stop(self):
        """Kill what is left."""
        for trainer in self.trainers:
            end_trainer(trainer)
        for pid in self._agents:
            kill_agent(pid)
            with contextlib.suppress(ChildProcessError):  # the start of a later one has waited for it
                os.waitpid(pid, 0)

    def push_and_check(self, kit):
        """Send what is missing: then the collector has each run byte for byte, and a second push sends nothing."""
        for trainer in self.trainers:
            (report,) = send(trainer.folder, self._collector.address)
            assert report.error == ""
            assert report.skipped == {}
            local = kit.frames(list_run(trainer.folder))
            assert self._collector.frames(trainer.run_id) == local
            (again,) = send(trainer.folder, self._collector.address)
            assert again.frames == 0


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_random_kills_lose_nothing_and_double_nothing(collector, kit, tmp_path, seed):
    rng = random.Random(seed)
    scene = Scene(tmp_path, collector, rng, producers=3)
    try:
        for what in rng.sample(PLAN, len(PLAN)):
            time.sleep(rng.uniform(0.1, 0.6))
            scene.kill(what, replace=False)
    finally:
        scene.stop()
    assert all(len(kit.frames(list_run(trainer.folder))) > 3 for trainer in scene.trainers)
    scene.push_and_check(kit)


@pytest.fixture
def torn_collector(tmp_path):
    collector = TornCollector(tmp_path / "collected", random.Random(7))
    yield collector.start()
    collector.kill()


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_two_hundred_kills_with_torn_files_lose_nothing_and_double_nothing(torn_collector, kit, tmp_path):
    rng = random.Random(4)
    plan = ["collector"] * 100 + ["agent"] * 70 + ["trainer"] * 30
    scene = Scene(tmp_path, torn_collector, rng, producers=3)
    try:
        for what in rng.sample(plan, len(plan)):
            time.sleep(rng.uniform(0.05, 0.6))
            scene.kill(what, replace=True)
    finally:
        scene.stop()
    assert scene.kills == {"collector": 100, "agent": 70, "trainer": 30}
    assert torn_collector.torn
    scene.push_and_check(kit)
