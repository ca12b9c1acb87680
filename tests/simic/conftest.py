"""What the tests of both loops share: one thread, a small task, and a training that leaves a record."""

from __future__ import annotations

import pytest
import torch

import esper_telemetry
from esper.simic.vectorized import VectorizedTrainer
from esper.tasks import load_task
from esper.telemetry import open_hub


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Two threads sum in another order: runs on one are reproducible, and faster."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def synthetic():
    return load_task("synthetic")


@pytest.fixture(scope="session")
def train():
    """A function that trains into a record, and returns the batches and the events."""

    def run(task, folder, config, *, level="normal", lifecycle_only=False, prepare=lambda _trainer: None, **options):
        with open_hub(folder, name="test", level=level, lifecycle_only=lifecycle_only, **options) as hub:
            on = {"telemetry_enabled": level != "off", "lifecycle_only": lifecycle_only}
            trainer = VectorizedTrainer(dict.fromkeys(config.devices, task), config, **on)
            prepare(trainer)
            results = list(trainer.train())
        assert hub.run.stats().dropped == 0
        return results, list(esper_telemetry.read(hub.run.folder))

    return run
