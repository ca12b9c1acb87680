#!/usr/bin/env bash
# Lightning 2.6.6: a training that SIGTERM ends leaves with exit status 0, and one that Ctrl-C ends with status 1.
#
# Seen with lightning 2.6.6, torch 2.13.0 (CPU), Python 3.11 on Linux. `Trainer.fit` installs a SIGTERM handler; at the
# next batch it raises SIGTERMException, a SystemExit without a code, so the process ends like one that has finished:
# status 0, where Python alone would have been ended by the signal (143 in a shell). After Ctrl-C it exits with 1, where
# Python alone ends by SIGINT (130). A scheduler that looks at the status takes a preempted training for a complete one.
#
# For users of esper-telemetry: the record says `interrupted` in both cases, whatever the status is.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 lightning==2.6.6
cat > "$work/train.py" <<'PROGRAM'
import torch
from lightning.pytorch import LightningModule, Trainer


class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        if self.global_step == 3:
            print("training", flush=True)
        return self.layer(batch[0]).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


rows = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(64, 4)), batch_size=2)
Trainer(
    max_epochs=100_000, accelerator="cpu", logger=False, enable_checkpointing=False,
    enable_progress_bar=False, enable_model_summary=False,
).fit(Model(), rows)
PROGRAM
cat > "$work/end.py" <<'PROGRAM'
import signal
import subprocess
import sys

for name, wanted in (("SIGTERM", 0), ("SIGINT", 1)):
    program = subprocess.Popen([sys.executable, sys.argv[1]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    while program.stdout.readline().strip() != "training":
        pass
    program.send_signal(getattr(signal, name))
    status = program.wait(60)
    print(f"lightning 2.6.6: {name} while fit runs: exit status {status}")
    if status != wanted:
        sys.exit(f"changed: it was {wanted}")
PROGRAM
cd "$work"
"$work/venv/bin/python" end.py train.py
