#!/usr/bin/env bash
# torch 2.13.0 on Linux: one row that is kept of a DataLoader worker's batch holds the whole batch and an open file.
#
# Workers hand tensors over in shared memory, by default one file descriptor each. `batch[0]` is a view: while it lives, so
# do the memory of all rows and the descriptor. A list of one row for each of 40 batches holds at least 40 open files and ten times
# the bytes it shows; at the limit of descriptors, the next batch fails far from that list. `batch[0].clone()` holds nothing.
#
# For users of esper-telemetry: `emit` refuses tensors and keeps none. What is kept for a histogram or an example image
# should be cloned.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cat > "$work/keep.py" <<'PROGRAM'
import os
import sys

import torch
from torch.utils.data import DataLoader


def open_files():
    return len(os.listdir("/proc/self/fd"))


found = {}
for name, kept_of in (("view", lambda batch: batch[0]), ("clone", lambda batch: batch[0].clone())):
    before = open_files()
    kept = [kept_of(batch) for batch in DataLoader(torch.zeros(400, 100), batch_size=10, num_workers=1)]
    found[name] = (open_files() - before, kept[0].untyped_storage().nbytes() // kept[0].nbytes)
    del kept
print(f"torch {torch.__version__}: of 40 batches of 10 rows one each is kept: open files, bytes held by bytes of a row: {found}")
same = found["view"][0] >= 40 and found["view"][1] == 10 and found["clone"][0] < 40 and found["clone"][1] == 1
sys.exit(0 if same else "changed")
PROGRAM
cd "$work"
"$work/venv/bin/python" keep.py
