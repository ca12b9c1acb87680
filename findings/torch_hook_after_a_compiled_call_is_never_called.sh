#!/usr/bin/env bash
# torch 2.13.0: a forward hook that is registered after the first call of a compiled module is never called.
#
# `torch.compile` builds the hooks that a module has into what it compiles, and by default does not look for new ones: the
# hook is accepted, is in `module._forward_hooks`, and does not run, without a warning. Registered before the first call it
# runs each time. `torch._dynamo.config.skip_nnmodule_hook_guards = False` makes it look, at a price for each call.
#
# For users of esper-telemetry: `GradientWatch` hangs on the optimizer, which is not compiled. Probes of your own on layers
# belong before the first compiled call.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cat > "$work/hook.py" <<'PROGRAM'
import sys

import torch

calls = {}
for when in ("before the first call", "after it"):
    torch._dynamo.reset()
    module, inputs, seen = torch.nn.Linear(2, 2), torch.ones(1, 2), []
    compiled = torch.compile(module, backend="eager")
    if when == "after it":
        compiled(inputs)
    module.register_forward_hook(lambda *_, seen=seen: seen.append(1))
    compiled(inputs)
    compiled(inputs)
    calls[when] = len(seen)
print(f"torch {torch.__version__}: a hook registered {calls} times called in two calls")
sys.exit(calls != {"before the first call": 2, "after it": 0} and "changed")
PROGRAM
cd "$work"
"$work/venv/bin/python" hook.py
