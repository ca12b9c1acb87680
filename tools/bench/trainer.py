"""What telemetry costs the PPO loop: the share of a batch, counted and by paired runs beside a control.

    python tools/bench/trainer.py [--quick]

Counted: time inside telemetry calls plus the processor time of the writer, over the wall time of the batches after
the first (which loads modules). Paired: the same batches with telemetry on and off in alternating order, and off
against off, whose spread is the noise of this machine: a ratio inside that spread proves nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import figures
import torch
from paired import alternate

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the trainer runs from the checkout

from esper.simic.config import PpoConfig
from esper.simic.vectorized import VectorizedTrainer
from esper.tasks import load_task
from esper.telemetry import open_hub

if TYPE_CHECKING:
    from esper.tasks import Task

LIMITS = {"normal": 0.01, "debug": 0.03}


def train(task: Task, level: str | None, epochs: int) -> None:
    """Train one batch of digits from the same start; None trains without a run."""
    config = PpoConfig(batches=1, max_epochs=epochs)
    with tempfile.TemporaryDirectory() as folder, open_hub(level and folder, name="bench", level=level or "off"):
        for _ in VectorizedTrainer({"cpu": task}, config, telemetry_enabled=bool(level)).train():
            pass


def counted(task: Task, level: str, batches: int) -> None:
    """Print the share of each batch that telemetry took."""
    shares, events = [], 0
    with tempfile.TemporaryDirectory() as folder, open_hub(folder, name="bench", level=level) as hub:
        trainer = VectorizedTrainer({"cpu": task}, PpoConfig(batches=batches + 1))
        before = 0.0
        for result in trainer.train():
            spent = hub.seconds + (hub.run.stats().writer_cpu_s if hub.run else 0.0)
            shares.append((spent - before) / result.seconds)
            before = spent
        events = sum(hub.run.stats().recorded.values()) if hub.run else 0
        dropped = hub.run.stats().dropped if hub.run else 0
    median = statistics.median(shares[1:])
    verdict = "within" if median <= LIMITS[level] else "OVER"
    limit = 100 * LIMITS[level]
    figures.report(
        f"telemetry's share of a PPO batch, {level}",
        100 * median,
        of="the batch",
        goal=limit,
        unit=" %",
        headline=level == "normal",
    )
    print(
        f"  {level:7} {100 * median:.2f} % of a batch ({100 * min(shares[1:]):.2f}-{100 * max(shares[1:]):.2f};"
        f" first {100 * shares[0]:.2f}), {verdict} {100 * LIMITS[level]:.0f} %;"
        f" {events / (batches + 1):,.0f} events and {hub.counter_reads / (batches + 1):.0f} counter read a batch,"
        f" {dropped} dropped"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, shorter episodes")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    task = load_task("digits")
    epochs, rounds = (10, 4) if quick else (25, 9)
    print("share of a PPO batch on digits, 4 environments:")
    for level in LIMITS:
        counted(task, level, batches=3 if quick else 6)
    print(f"paired runs of one batch ({rounds} rounds), median [quartiles] of the ratio to off:")
    work = {"off": None, "off again": None, "normal": "normal", "debug": "debug"}
    timings = alternate({name: partial(train, task, level, epochs) for name, level in work.items()}, rounds=rounds)
    for name in ("off again", "normal", "debug"):
        print(f"  {name:10} {timings.ratio(name, 'off')}")
        control = " (the noise of the machine)" if name == "off again" else ""
        figures.report(f"time of a PPO batch, telemetry {name}{control}", timings.ratio(name, "off"), of="off")


if __name__ == "__main__":
    main()
