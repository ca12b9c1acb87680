"""Worker processes record too: those of a DataLoader, and one that was forked by hand.

    python examples/workers.py [RUNS]                # needs esper-telemetry[torch]

You see that each sample was loaded once an epoch, and how many events each process recorded: the main process, two
loader workers in each of two epochs, and the forked evaluator, each in a stream of its own. Nothing is set up for that:
a child that has the run, because it was forked or because the run was pickled for it (spawn), records.
"""

import multiprocessing
import sys
from collections import Counter

import torch
from torch.utils.data import DataLoader, Dataset

import esper_telemetry as et

SAMPLES, EPOCHS, WORKERS = 60, 2, 2


class Augmented(Dataset[torch.Tensor]):
    """Samples that are made in the workers; the run travels with the data set."""

    def __init__(self, run: et.Run) -> None:
        self.run = run

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> torch.Tensor:
        self.run.log({"augment/sample": index}, step=index)
        return torch.tensor([float(index)])


def evaluate(run: et.Run) -> None:
    """Run in a forked process: its events join the record, its end is not the end of the run."""
    for step in range(5):
        run.log({"eval/score": step / 5}, step=step)


def main(runs: str) -> None:
    """Load all samples in workers, evaluate in a fork, and read who recorded what."""
    with et.start_run(runs, name="workers") as run:
        loader = DataLoader(Augmented(run), batch_size=10, num_workers=WORKERS, shuffle=True)
        for epoch in range(EPOCHS):
            for batch in loader:
                run.log({"train/sum": batch.sum().item()}, global_epoch=epoch)
        child = multiprocessing.get_context("fork").Process(target=evaluate, args=(run,))
        child.start()
        child.join()

    # A producer is a process; its id numbers the events of its stream.
    events = et.read(run.folder, types="scalars.logged")
    found = Counter((event.producer_id.hex()[:8], next(iter(event.data["scalars"]))) for event in events)
    for (producer, name), count in sorted(found.items()):
        print(f"  process {producer}: {count:>3} {name}")
    samples = sum(count for (_, name), count in found.items() if name == "augment/sample")
    print(f"{samples} samples were loaded, {SAMPLES * EPOCHS} were expected\nrecorded in {run.folder}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs")
