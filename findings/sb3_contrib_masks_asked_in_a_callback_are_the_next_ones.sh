#!/usr/bin/env bash
# sb3-contrib 2.9.2, MaskablePPO: `env_method("action_masks")` in a callback's `_on_step` gives the masks of the next step.
#
# The callback runs after the environment's step, so the environment answers for the state it is in now. Here the legal
# half of the actions changes with each step: judged by the masks that are asked for, every one of 128 actions was
# forbidden. `locals["action_masks"]` has the masks that were in force when the actions were drawn: all were legal.
#
# For users of esper-telemetry: `EsperCallback` records those in force; `invalid_selected` of a MaskablePPO is 0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 stable-baselines3==2.9.2 sb3-contrib==2.9.2
cat > "$work/train.py" <<'PROGRAM'
import sys
from importlib.metadata import version

import gymnasium as gym
import numpy as np
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback


class Alternating(gym.Env):
    observation_space = gym.spaces.Box(0, 1, (1,))
    action_space = gym.spaces.Discrete(4)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(1, np.float32), 0.0, self.steps == 10, False, {}

    def action_masks(self):
        return np.arange(4) % 2 == self.steps % 2


class Judge(BaseCallback):
    rows = asked = given = 0

    def _on_step(self):
        (action,) = self.locals["actions"]
        self.rows += 1
        self.asked += int(self.training_env.env_method("action_masks")[0][action])
        self.given += int(self.locals["action_masks"].reshape(-1)[action])
        return True


judge = Judge()
MaskablePPO("MlpPolicy", Alternating(), n_steps=64, batch_size=64, n_epochs=1, device="cpu").learn(128, callback=judge)
found = f"{judge.asked} legal by the masks asked for, {judge.given} by locals"
print(f"sb3-contrib {version('sb3-contrib')}: of {judge.rows} actions {found}")
sys.exit((judge.rows, judge.asked, judge.given) != (128, 0, 128) and "changed")
PROGRAM
cd "$work"
"$work/venv/bin/python" train.py
