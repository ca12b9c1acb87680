#!/usr/bin/env bash
# stable-baselines3 2.9.2, PPO: the rewards that a callback keeps grow afterwards, where an episode was truncated.
#
# After `_on_step` PPO adds gamma times the value of the last observation to the reward of each truncated environment, in
# the array that `locals["rewards"]` has just handed out. A callback that keeps the array sums returns that no environment
# paid; one that copies it has the true ones. Here every step pays 1: four truncated steps of twenty come out otherwise.
#
# For users of esper-telemetry: `EsperCallback` takes returns from the `Monitor` around each environment, which PPO does not
# write to. A callback of your own that emits rewards should copy them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 stable-baselines3==2.9.2
cat > "$work/train.py" <<'PROGRAM'
import sys
from importlib.metadata import version

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback


class Ones(gym.Env):
    observation_space = gym.spaces.Box(0, 1, (1,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.ones(1, np.float32), 1.0, False, self.steps == 5, {}


class Keep(BaseCallback):
    def __init__(self):
        super().__init__()
        self.kept, self.copied = [], []

    def _on_step(self):
        self.kept.append(self.locals["rewards"])
        self.copied.append(self.locals["rewards"].copy())
        return True


keep = Keep()
PPO("MlpPolicy", Ones(), n_steps=20, batch_size=20, n_epochs=1, device="cpu", seed=0).learn(20, callback=keep)
other = [int(np.sum(np.concatenate(rewards) != 1)) for rewards in (keep.kept, keep.copied)]
total = float(np.concatenate(keep.kept).sum())
found = f"{other[0]} kept, {other[1]} copied; sum {total:.3f}"
print(f"stable-baselines3 {version('stable-baselines3')}: rewards that are not 1: {found}")
sys.exit(other != [4, 0] and "changed")
PROGRAM
cd "$work"
"$work/venv/bin/python" train.py
