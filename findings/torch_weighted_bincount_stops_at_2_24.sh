#!/usr/bin/env bash
# torch 2.13.0 (CPU): counts by `bincount(weights=)`, `scatter_add_` and `index_add_` in float32 stop at 16,777,216.
#
# Each adds one value at a time to a float32 sum, and 2**24 + 1 is no float32: further ones change nothing. `sum` of the
# same ones is exact, since it adds in blocks, and so are `bincount` without weights and `histc`. A counter of masked or
# weighted rows that is made this way is right in every test and wrong after enough steps.
#
# For users of esper-telemetry: `DeviceCounters` counts in integers; float32 is not used for what must be exact.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cat > "$work/count.py" <<'PROGRAM'
import sys

import torch

rows = 2**24 + 1000
where, ones = torch.zeros(rows, dtype=torch.int64), torch.ones(rows)
counts = {
    "bincount(weights)": torch.bincount(where, weights=ones),
    "scatter_add_": torch.zeros(1).scatter_add_(0, where, ones),
    "index_add_": torch.zeros(1).index_add_(0, where, ones),
    "sum": ones.sum(),
    "bincount": torch.bincount(where),
    "histc": torch.histc(ones, bins=1, min=0, max=2),
}
counts = {name: int(count.item()) for name, count in counts.items()}
print(f"torch {torch.__version__}, {rows:,} rows: {counts}")
expected = dict(zip(counts, [2**24] * 3 + [rows] * 3, strict=True))
sys.exit(counts != expected and "changed")
PROGRAM
cd "$work"
"$work/venv/bin/python" count.py
