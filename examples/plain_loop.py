"""A plain training loop: scalars, phases, progress, a histogram and a final result in one record.

    python examples/plain_loop.py [RUNS]             # needs esper-telemetry[torch]
    esper-telemetry report runs/*-plain-* -o report.html

You see the loss fall, the folder of the run, and how many events of each type are in it.
"""

import sys
from collections import Counter

import torch

import esper_telemetry as et

EPOCHS, BATCHES, BATCH, HIDDEN, LR = 5, 20, 64, 16, 0.05


def main(runs: str) -> None:
    """Fit a small network to a sine."""
    torch.manual_seed(0)
    hidden = torch.nn.Linear(1, HIDDEN)
    model = torch.nn.Sequential(hidden, torch.nn.Tanh(), torch.nn.Linear(HIDDEN, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    total, done, last = EPOCHS * BATCHES, 0, 0.0

    with et.start_run(runs, name="plain", config={"lr": LR, "hidden": HIDDEN}, tags={"example": "plain_loop"}) as run:
        for epoch in range(EPOCHS):
            with run.phase("train"):
                loss_sum = torch.zeros(())
                for _ in range(BATCHES):
                    inputs = torch.rand(BATCH, 1) * 6 - 3
                    loss = torch.nn.functional.mse_loss(model(inputs), torch.sin(inputs))
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    # emit refuses tensors, because reading one can wait for its device: sum here, read once an epoch.
                    loss_sum += loss.detach()
                    done += 1
                    run.progress(done=done, total=total)
            last = loss_sum.item() / BATCHES
            run.log({"loss": last, "optimizer": {"lr": LR}}, step=done)
            run.log_histogram("weights", hidden.weight.detach().numpy(), step=done)
            print(f"epoch {epoch}: loss {last:.4f}")
        run.results["loss"] = last

    print(f"recorded in {run.folder}")
    for name, count in sorted(Counter(event.type for event in et.read(run.folder)).items()):
        print(f"  {count:>4} {name}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs")
