#!/usr/bin/env bash
# torch 2.13.0: one call of `torch.compile` switches argument checks off for all distributions of the process.
#
# Nothing has to be compiled or run: the call alone sets the default of `torch.distributions` to validate_args=False. A
# Categorical of NaN probabilities, which raised ValueError on the line before, is then made without a word, in code that
# has nothing to do with what was compiled. `validate_args=True`, passed by hand, still checks.
#
# For users of esper-telemetry: a policy that became NaN no longer stops its trainer; the rules of `report`, `check` and
# `watch` find it in the record. A benchmark of a policy should state validate_args: the checks read the device.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cat > "$work/check.py" <<'PROGRAM'
import sys

import torch
from torch.distributions import Categorical


def made(**options):
    try:
        Categorical(probs=torch.tensor([float("nan"), 1.0]), **options)
    except ValueError:
        return "ValueError"
    return "made"


before = made()
torch.compile(lambda x: x + 1)  # never called
after, asked = made(), made(validate_args=True)
print(f"torch {torch.__version__}: Categorical of NaN: {before}; after torch.compile: {after}; validate_args=True: {asked}")
sys.exit((before, after, asked) != ("ValueError", "made", "ValueError") and "changed")
PROGRAM
cd "$work"
"$work/venv/bin/python" check.py
