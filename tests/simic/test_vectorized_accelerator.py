"""The PPO loop on a simulated accelerator, which queues its work and counts each time the host waits for it.

It runs in a process of its own: PyTorch makes room for a new kind of device only before its first backward pass.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

ROOT = Path(__file__).resolve().parents[2]
BATCHES, EPOCHS, STOP = 2, 3, 1.5 * 0.015


class LstmCell(TorchDispatchMode):
    """The one operation that PyTorch has for accelerators alone, in terms of others."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name == "_thnn_fused_lstm_cell":
            return self.forward(*args)
        if name == "_thnn_fused_lstm_cell_backward_impl":
            return self.backward(*args)
        return func(*args, **(kwargs or {}))

    @staticmethod
    def forward(from_input, from_hidden, cell, input_bias, hidden_bias):
        gates = from_input + from_hidden + input_bias + hidden_bias
        i, f, g, o = gates.chunk(4, 1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        after = f * cell + i * g
        return o * after.tanh(), after, torch.cat([i, f, g, o], 1)

    @staticmethod
    def backward(d_hidden, d_cell, cell, after, *gates_and_bias):
        gates, has_bias = gates_and_bias
        i, f, g, o = gates.chunk(4, 1)
        bent = after.tanh()
        zero = torch.zeros_like(after)
        d_hidden = zero if d_hidden is None else d_hidden
        d_after = (zero if d_cell is None else d_cell) + d_hidden * o * (1 - bent * bent)
        parts = [d_after * g * i * (1 - i), d_after * cell * f * (1 - f), d_after * i * (1 - g * g)]
        d_gates = torch.cat([*parts, d_hidden * bent * o * (1 - o)], 1)
        return d_gates, d_after * f, d_gates.sum(0) if has_bias else None


def main(folder, level):
    """Train on the accelerator and print what every batch cost, as JSON."""
    import esper.simic.agent
    import esper_telemetry.counters.device
    from esper.simic.config import PpoConfig
    from esper.simic.vectorized import VectorizedTrainer
    from esper.tasks import load_task
    from esper.telemetry import open_hub
    from tests.esper_telemetry.counters import simgpu

    simgpu.load()
    torch.set_num_threads(1)
    chip, device = simgpu.Chip(), f"{simgpu.NAME}:0"
    esper_telemetry.counters.device.backend_of = lambda _device: simgpu.SimBackend(chip)
    # PyTorch has no generator for it; where the numbers are drawn is not what is counted here.
    esper.simic.agent.generator_on = lambda _device, seed: torch.Generator("cpu").manual_seed(seed)
    config = PpoConfig(batches=BATCHES, n_envs=2, max_epochs=EPOCHS, hidden=8, devices=(device,))
    ledger = []
    with simgpu.SimMode(chip), LstmCell(), open_hub(folder, name="test", level=level):
        task = load_task("synthetic", device)
        trainer = VectorizedTrainer({device: task}, config, telemetry_enabled=level != "off")
        before = chip.copies_to_host, len(chip.waits)
        for result in trainer.train():
            now = chip.copies_to_host, len(chip.waits)
            update = result.update.metrics
            ledger.append(
                {
                    "copies": now[0] - before[0],
                    "waits": now[1] - before[1],
                    "passes": update["update_epochs"] + (update["kl_divergence"] > STOP),
                    "mean_return": result.mean_return,
                }
            )
            before, kinds = now, sorted(set(chip.waits))  # what comes later is the end of the run, which may wait
    sys.stdout.write(json.dumps({"ledger": ledger, "kinds": kinds}))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What each batch cost, with telemetry off and with all of it."""
    found = {}
    for level in ("off", "debug"):
        folder = tmp_path_factory.mktemp(level)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__, str(folder), level]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        if "cannot make a Python backend" in done.stderr:
            pytest.skip("this PyTorch cannot make a Python backend of PrivateUse1")
        assert done.returncode == 0, done.stderr
        found[level] = json.loads(done.stdout)
    return found


def test_the_host_waits_twice_an_epoch_and_once_a_pass(runs):
    for batch in runs["off"]["ledger"]:
        budget = 2 * EPOCHS + batch["passes"]
        assert (batch["copies"], batch["waits"]) == (budget, budget)


def test_telemetry_adds_one_copy_a_batch_and_no_wait(runs):
    pairs = zip(runs["off"]["ledger"], runs["debug"]["ledger"], strict=True)
    for quiet, told in pairs:
        assert told["copies"] == quiet["copies"] + 1
        assert told["waits"] == quiet["waits"]


def test_nothing_but_the_packed_copies_is_waited_for(runs):
    assert runs["off"]["kinds"] == runs["debug"]["kinds"] == ["_to_copy to pageable memory"]


def test_what_is_learned_on_the_accelerator_is_the_same(runs):
    returns = [[batch["mean_return"] for batch in runs[level]["ledger"]] for level in ("off", "debug")]
    assert returns[0] == returns[1]


if __name__ == "__main__":
    main(*sys.argv[1:])
