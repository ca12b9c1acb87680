"""What the PPO loop learns on digits, beside a random policy and a control without growth; whatever the sign.

    python tools/learning.py [--batches 60] [--seeds 1 2 3] [--task digits]

Every policy meets the same hosts with the same data in the same order (runs are paired by seed). Printed for
each seed: mean return of the first and the last fifth of batches, and the accuracies of the last fifth; then the
mean difference over the seeds with its 95 % interval (Student's t). A seed takes about twenty minutes on one core.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from statistics import fmean, stdev

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the trainer runs from the checkout

from esper.simic.config import PpoConfig
from esper.simic.vectorized import VectorizedTrainer
from esper.tasks import load_task

# Two-sided 95 % quantiles of Student's t by degrees of freedom.
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}

Row = dict[str, float]


def train(task_name: str, policy: str, seed: int, batches: int) -> Row:
    """Train one policy with one seed; the means that are compared."""
    config = PpoConfig(policy=policy, seed=seed, batches=batches)
    trainer = VectorizedTrainer({"cpu": load_task(task_name)}, config)
    returns, val, test, finite = [], [], [], True
    for result in trainer.train():
        returns.append(result.mean_return)
        val.append(result.mean("val_accuracy") or math.nan)
        test.append(result.mean("test_accuracy") or math.nan)
        if result.update is not None:
            numbers = (
                result.update.metrics[name] for name in ("policy_loss", "value_loss", "entropy", "kl_divergence")
            )
            finite = finite and all(map(math.isfinite, numbers))
    fifth = max(batches // 5, 1)
    return {
        "first": fmean(returns[:fifth]),
        "last": fmean(returns[-fifth:]),
        "val": fmean(val[-fifth:]),
        "test": fmean(test[-fifth:]),
        "finite": float(finite),
    }


def interval(differences: list[float]) -> str:
    """Return a mean with its 95 % interval over seeds."""
    mean = fmean(differences)
    if len(differences) < 2:  # noqa: PLR2004 - one seed has no spread
        return f"{mean:+.2f} (one seed: no interval)"
    half = T95.get(len(differences) - 1, 1.96) * stdev(differences) / math.sqrt(len(differences))
    return f"{mean:+.2f} [{mean - half:+.2f}, {mean + half:+.2f}]"


def main() -> None:
    """Train every policy with every seed and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--task", default="digits")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, list[Row]] = {policy: [] for policy in ("ppo", "random", "wait")}
    print(f"{args.task}, {args.batches} batches of 4 episodes of 25 epochs")
    print("policy   seed   return: first fifth   last fifth   val %   test %   all finite")
    for seed in args.seeds:
        for policy, done in rows.items():
            row = train(args.task, policy, seed, args.batches)
            done.append(row)
            numbers = f"{row['first']:21.2f} {row['last']:12.2f} {row['val']:7.2f} {row['test']:8.2f}"
            print(f"{policy:8} {seed:4} {numbers} {'yes' if row['finite'] else 'NO':>12}", flush=True)
    ppo, random, wait = rows["ppo"], rows["random"], rows["wait"]
    print("mean over seeds, 95 % interval:")
    print(f"  return, last fifth - first fifth, ppo:   {interval([one['last'] - one['first'] for one in ppo])}")
    print(f"  return, last fifth, ppo - random:        {paired(ppo, random, 'last')}")
    for name in ("val", "test"):
        print(f"  {name} accuracy, ppo - random, points:   {paired(ppo, random, name)}")
        print(f"  {name} accuracy, ppo - no growth, points: {paired(ppo, wait, name)}")


def paired(one: list[Row], other: list[Row], name: str) -> str:
    """Return the mean difference over seeds with its interval."""
    return interval([a[name] - b[name] for a, b in zip(one, other, strict=True)])


if __name__ == "__main__":
    main()
