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
    clock: Callable[[], float] = time.perf_counter,
) -> Timings:
    """Run every contender once a round and return their times.

    Args:
        contenders: name → work of one round; each must do the same job.
        rounds: counted rounds; every other round runs them in reverse order.
        warm: rounds that are not counted, first.
        settle: called after each contender, not timed: it ends what would run on beside the next one.
        clock: seconds; `time.process_time` where other programs use the machine, and waiting is not what is measured.
    """
    work = {name: timed(one, clock, settle) for name, one in contenders.items()}
    return take_turns(work, rounds=rounds, warm=warm)


def timed(
    work: Callable[[], object],
    clock: Callable[[], float] = time.process_time,
    settle: Callable[[], object] = lambda: None,
) -> Callable[[], float]:
    """Return a function that does `work` and returns the seconds it took; `settle` follows it, not timed."""

    def seconds() -> float:
        gc.collect()
        gc.disable()
        start = clock()
        work()
        taken = clock() - start
        gc.enable()
        settle()
        return taken

    return seconds


def take_turns(contenders: Mapping[str, Callable[[], float]], *, rounds: int = 9, warm: int = 1) -> Timings:
    """Return the seconds that each contender states of its rounds; arguments as of `alternate`."""
    for _ in range(warm):
        for take in contenders.values():
            take()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            seconds[name].append(contenders[name]())
    return Timings(seconds)
