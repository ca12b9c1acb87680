#!/usr/bin/env bash
# sb3-contrib 2.9.2: a mask that forbids every action makes the policy draw uniformly, with log probability 0 for each.
#
# No error is raised. `MaskableCategorical` of four logits, the last far ahead, and a mask of four times False draws each
# action about as often; the probability of each is 0.25, its log probability 0 and the entropy 0, so that PPO's ratio of
# that row is 1 whatever the policy does. A mask with one action left is right.
#
# For users of esper-telemetry: such rows are counted as `empty` for each head in `policy.mask_hit_rates`, and each action
# drawn there as `invalid_selected`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 sb3-contrib==2.9.2
cat > "$work/draw.py" <<'PROGRAM'
import sys
from importlib.metadata import version

import numpy as np
import torch
from sb3_contrib.common.maskable.distributions import MaskableCategorical

torch.manual_seed(0)
logits, nothing = torch.tensor([[0.0, 1.0, 2.0, 9.0]]), np.zeros((1, 4), bool)
policy = MaskableCategorical(logits=logits, masks=nothing)
drawn = torch.bincount(torch.cat([policy.sample() for _ in range(2000)]), minlength=4).tolist()
sure = [policy.log_prob(torch.tensor([action])).item() for action in range(4)]
print(f"sb3-contrib {version('sb3-contrib')}: drawn {drawn}, log probabilities {sure}, entropy {policy.entropy().item()}")
sys.exit((min(drawn) < 400 or sure != [0.0] * 4 or policy.entropy().item() != 0) and "changed")
PROGRAM
cd "$work"
"$work/venv/bin/python" draw.py
