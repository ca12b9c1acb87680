"""How often the PPO loop waits for its device: twice an epoch, once a pass of the update, and never for telemetry.

A sentinel sees every operation of a run on the CPU; test_vectorized_accelerator.py counts the waits themselves.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from esper.simic.config import PpoConfig
from esper.simic.vectorized import VectorizedTrainer
from esper.telemetry import open_hub

CONFIG = PpoConfig(batches=2, n_envs=2, max_epochs=8, hidden=16)
WAITS = {"_local_scalar_dense", "item", "nonzero", "equal", "is_nonzero", "masked_select", "bincount", "_unique2"}


class Sentinel(TorchDispatchMode):
    """Counts the copies to the host and every operation that would make the host wait for a device."""

    def __init__(self, trainer):
        super().__init__()
        self.trainer = trainer
        self.copies = 0
        self.waits = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name == "_to_copy" and str((kwargs or {}).get("device")) == "cpu":
            self.copies += 1
        if name in WAITS and not self.is_adams_step(args[0]):
            self.waits[name] += 1
        if name == "index" and any(index is not None and index.dtype == torch.bool for index in args[1]):
            self.waits["boolean index"] += 1
        return func(*args, **(kwargs or {}))

    def is_adams_step(self, tensor):
        """Adam counts its steps on the host, whatever the device of its parameters."""
        steps = [state["step"] for state in self.trainer.agent.ppo.optimizer.state.values()]
        return any(tensor.data_ptr() == step.data_ptr() for step in steps)


def allowed(results, config):
    """Copies of the trainer itself: per epoch one per device and the actions; per batch one per pass."""
    stops = [update.metrics for update in (result.update for result in results)]
    passes = sum(update["update_epochs"] + (update["kl_divergence"] > 1.5 * config.target_kl) for update in stops)
    return config.batches * config.max_epochs * (len(config.devices) + 1) + passes


@pytest.mark.parametrize("devices", [("cpu",), ("cpu", "cpu:0")])
@pytest.mark.parametrize("level", ["off", "debug"])
def test_the_budget_holds_for_every_operation_of_a_run(synthetic, tmp_path, level, devices):
    config = replace(CONFIG, devices=devices)
    with open_hub(tmp_path, name="test", level=level) as hub:
        trainer = VectorizedTrainer(dict.fromkeys(devices, synthetic), config, telemetry_enabled=level != "off")
        with Sentinel(trainer) as sentinel:
            results = list(trainer.train())
    assert sentinel.copies == allowed(results, config)
    assert not sentinel.waits
    assert hub.counter_reads == (0 if level == "off" else config.batches * len(devices))


def test_the_sentinel_sees_a_wait():
    class Trainer:
        class agent:  # noqa: N801 - stands for an attribute
            class ppo:  # noqa: N801 - as above
                optimizer = torch.optim.Adam([torch.zeros(1)])

    with Sentinel(Trainer) as sentinel:
        torch.ones(3)[torch.tensor([True, False, True])].sum().item()
        torch.ones(2).to("cpu", copy=True)
    assert sentinel.waits["_local_scalar_dense"] == 1
    assert sentinel.waits["boolean index"] == 1
    assert sentinel.copies == 1
