"""Paired timing: every contender runs once a round, in alternating order, and ratios are taken round by round.

Machines are noisy and drift; what two contenders do in the same round differs by
the contenders alone. Quote the median of the ratios with its quartiles.

    timings = alternate({"ours": f, "json": g}, rounds=9)
    print(timings.table(base="ours", per=10_000, unit="event"))
"""

from __future__ import annotations

import gc
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Ratio:
    """Median and quartiles of the ratios of two contenders, round by round."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f}x [{self.low:.2f}-{self.high:.2f}]"


@dataclass(frozen=True)
class Timings:
    """Wall seconds of each contender in each round."""

    seconds: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        """Return the median seconds of a contender."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, base: str) -> Ratio:
        """Return how much longer `name` takes than `base`."""
        ratios = [one / other for one, other in zip(self.seconds[name], self.seconds[base], strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return Ratio(median, low, high)

    def table(self, *, base: str, per: int, unit: str) -> str:
        """Return a line per contender: nanoseconds and rate per unit, and the ratio to `base`."""
        lines = []
        for name in self.seconds:
            each = self.median(name) / per
            lines.append(
                f"  {name:<44} {each * 1e9:>10,.0f} ns/{unit} {1 / each:>14,.0f} {unit}s/s   {self.ratio(name, base)}"
            )
        return "\n".join(lines)


def alternate(
    contenders: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 9,
    warm: int = 1,
    settle: Callable[[], object] = lambda: None,
) -> Timings:
    """Run every contender once a round and return their times.

    Args:
        contenders: name → work of one round; each must do the same job.
        rounds: counted rounds; every other round runs them in reverse order.
        warm: rounds that are not counted, first.
        settle: called after each contender, not timed: it ends what would run on beside the next one.
    """
    for _ in range(warm):
        for work in contenders.values():
            work()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            gc.collect()
            gc.disable()
            start = time.perf_counter()
            contenders[name]()
            seconds[name].append(time.perf_counter() - start)
            gc.enable()
            settle()
    return Timings(seconds)
