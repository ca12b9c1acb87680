"""What the adapter of Stable-Baselines3 costs a training that logs to TensorBoard already, in processor time.

    .venv-integrations/bin/python tools/bench/adapters.py [--rounds 9] [--steps 16384]

The same training (same seed, same environments with `Monitor`, SB3's own TensorBoard logging) runs with and without
`EsperCallback`, alternating. Processor time of the whole process counts, so the writer thread of the record is in it.
The goal is a ratio of at most 1.02.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import stable_baselines3 as sb3
import torch
from stable_baselines3.common.env_util import make_vec_env

import esper_telemetry as et
from esper_telemetry.integrations.sb3 import EsperCallback

ENVS = 8


def train(folder: Path, steps: int, *, recorded: bool) -> float:
    """Return the processor seconds of a training."""
    envs = make_vec_env("CartPole-v1", n_envs=ENVS, seed=0)
    model = sb3.PPO("MlpPolicy", envs, n_steps=256, batch_size=256, device="cpu", seed=0, tensorboard_log=str(folder))
    began = time.process_time()
    if recorded:
        with et.start_run(folder / "runs", name="bench") as run:
            model.learn(steps, callback=EsperCallback(run))
    else:
        model.learn(steps)
    took = time.process_time() - began
    envs.close()
    return took


def main() -> None:
    """Print the ratio of each round, then their median and quartiles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=16_384)
    given = parser.parse_args()
    torch.set_num_threads(1)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for recorded in (False, True):  # imports and caches
            train(Path(folder), 2048, recorded=recorded)
        for number in range(given.rounds):
            order = (False, True) if number % 2 else (True, False)
            took = {recorded: train(Path(folder), given.steps, recorded=recorded) for recorded in order}
            ratios.append(took[True] / took[False])
            print(
                f"round {number + 1}: {took[False]:.3f} s without, {took[True]:.3f} s with: {ratios[-1]:.4f}x",
                flush=True,
            )
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    print(f"with the adapter {median:.4f}x [{low:.4f}-{high:.4f}] of SB3 with TensorBoard alone, {given.rounds} rounds")


if __name__ == "__main__":
    main()
