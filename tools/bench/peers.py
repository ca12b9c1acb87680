"""The usual ways of counting actions and masks: the contenders of counters.py.

Each gives per head what ours does (chosen, succeeded, valid, restricted, forced; the
MeanMetrics only two rates) and is written as well as its way allows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

HEADS = {
    "slot": 3,
    "blueprint": 13,
    "style": 4,
    "tempo": 3,
    "alpha_target": 3,
    "alpha_speed": 4,
    "alpha_curve": 5,
    "op": 6,
}
SIZES = list(HEADS.values())
STARTS = [sum(SIZES[:i]) for i in range(len(SIZES))]
Step = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Items:
    """Plain Python: read every decision of every environment."""

    def __init__(self) -> None:
        self.chosen = [[0] * size for size in SIZES]
        self.succeeded = [[0] * size for size in SIZES]
        self.valid = [[0] * size for size in SIZES]
        self.restricted, self.forced = [0] * len(SIZES), [0] * len(SIZES)

    def update(self, step: Step) -> None:
        """Count one step."""
        actions, masks, success = step
        for env in range(actions.shape[0]):
            took = bool(success[env].item())
            for head, (start, size) in enumerate(zip(STARTS, SIZES, strict=True)):
                action = int(actions[env, head].item())
                self.chosen[head][action] += 1
                self.succeeded[head][action] += took
                left = 0
                for option in range(size):
                    allowed = bool(masks[env, start + option].item())
                    self.valid[head][option] += allowed
                    left += allowed
                self.restricted[head] += left < size
                self.forced[head] += left == 1


class Bincount:
    """One bincount, sum and compare per head."""

    def __init__(self) -> None:
        self.chosen = [torch.zeros(size, dtype=torch.int64) for size in SIZES]
        self.succeeded = [torch.zeros(size, dtype=torch.int64) for size in SIZES]
        self.valid = [torch.zeros(size, dtype=torch.int64) for size in SIZES]
        self.restricted = torch.zeros(len(SIZES), dtype=torch.int64)
        self.forced = torch.zeros(len(SIZES), dtype=torch.int64)

    def update(self, step: Step) -> None:
        """Count one step."""
        actions, masks, success = step
        for head, (start, size) in enumerate(zip(STARTS, SIZES, strict=True)):
            column, block = actions[:, head], masks[:, start : start + size]
            self.chosen[head] += torch.bincount(column, minlength=size)
            self.succeeded[head] += torch.bincount(column[success], minlength=size)
            self.valid[head] += block.sum(0)
            left = block.sum(1)
            self.restricted[head] += (left < size).sum()
            self.forced[head] += (left == 1).sum()


class PackedScatter:
    """All heads at once: one scatter of the packed actions, one of those that succeeded, sums of the packed masks."""

    def __init__(self) -> None:
        options = sum(SIZES)
        self.offsets = torch.tensor(STARTS)
        self.sizes = torch.tensor(SIZES)
        self.group = torch.tensor([head for head, size in enumerate(SIZES) for _ in range(size)])
        self.chosen = torch.zeros(options, dtype=torch.int64)
        self.succeeded = torch.zeros(options, dtype=torch.int64)
        self.valid = torch.zeros(options, dtype=torch.int64)
        self.restricted = torch.zeros(len(SIZES), dtype=torch.int64)
        self.forced = torch.zeros(len(SIZES), dtype=torch.int64)

    def update(self, step: Step) -> None:
        """Count one step."""
        actions, masks, success = step
        flat = (actions + self.offsets).view(-1)
        self.chosen.scatter_add_(0, flat, torch.ones_like(flat))
        self.succeeded.scatter_add_(0, flat, success.to(torch.int64).unsqueeze(1).expand_as(actions).reshape(-1))
        counted = masks.to(torch.int64)
        self.valid.add_(counted.sum(0))
        left = torch.zeros_like(actions).index_add_(1, self.group, counted)
        self.restricted.add_((left < self.sizes).sum(0))
        self.forced.add_((left == 1).sum(0))


def torchmetrics_peers() -> dict[str, Callable[[Step], None]]:
    """Return the contenders made of torchmetrics; none, and a word, where it is not installed."""
    try:
        from torchmetrics import MeanMetric, Metric
    except ImportError:
        print("torchmetrics is not installed: its contenders are skipped (pip install torchmetrics)")
        return {}

    base: Any = Metric

    class HeadMetric(base):  # type: ignore[misc]  # a base that may be absent
        """Counts of one head."""

        def __init__(self, size: int) -> None:
            super().__init__()
            for name, length in (("chosen", size), ("succeeded", size), ("valid", size), ("flags", 2)):
                self.add_state(name, torch.zeros(length, dtype=torch.int64), dist_reduce_fx="sum")
            self.size = size

        def update(self, column: torch.Tensor, block: torch.Tensor, success: torch.Tensor) -> None:
            """Count one step."""
            self.chosen += torch.bincount(column, minlength=self.size)
            self.succeeded += torch.bincount(column[success], minlength=self.size)
            self.valid += block.sum(0)
            left = block.sum(1)
            self.flags += torch.stack([(left < self.size).sum(), (left == 1).sum()])

        def compute(self) -> torch.Tensor:
            """Return what restricted and forced come to."""
            flags: torch.Tensor = self.flags
            return flags

    metrics = [HeadMetric(size) for size in SIZES]
    means = [MeanMetric() for _ in range(len(SIZES) + 1)]

    def update_metrics(step: Step) -> None:
        actions, masks, success = step
        for head, (start, size) in enumerate(zip(STARTS, SIZES, strict=True)):
            metrics[head].update(actions[:, head], masks[:, start : start + size], success)

    def update_means(step: Step) -> None:
        _, masks, success = step
        for head, (start, size) in enumerate(zip(STARTS, SIZES, strict=True)):
            means[head].update((~masks[:, start : start + size]).any(1).float())
        means[-1].update(success.float())

    return {"torchmetrics, custom Metric per head": update_metrics, "torchmetrics, MeanMetric per head": update_means}
