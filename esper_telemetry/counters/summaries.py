"""What is left of many values: plain numbers on the host, and how two sets of them are joined."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class ScalarSummary:
    """Summary of a recorded value.

    Attributes:
        count: values recorded, those of weight 0 left out.
        sum: weight x value of the finite ones, float64.
        min: smallest finite one; None if there was none.
        max: largest finite one; None if there was none.
        non_finite: values that were NaN or infinite.
        weight: sum of the weights of the finite ones; 1 each where none were given.
        squares: weight x squared distance from the mean, over the finite ones.
    """

    count: int
    sum: float
    min: float | None
    max: float | None
    non_finite: int
    weight: float
    squares: float

    @property
    def mean(self) -> float | None:
        """Weighted mean of the finite values; None if there was none."""
        return self.sum / self.weight if self.weight > 0.0 else None

    @property
    def std(self) -> float | None:
        """Weighted standard deviation of the finite values, that of the whole set; None if there was none."""
        return math.sqrt(max(0.0, self.squares / self.weight)) if self.weight > 0.0 else None


@dataclass(frozen=True, slots=True)
class HistogramSummary:
    """Histogram of a recorded value.

    Attributes:
        edges: rising; bucket i holds edges[i-1] <= value < edges[i], the first and last are open.
        counts: values in each bucket, one more than edges.
        nan: values that were NaN.
    """

    edges: tuple[float, ...]
    counts: list[int]
    nan: int


class Moments(NamedTuple):
    """Weight, sum and squared distances from the mean of one set of values."""

    weight: float
    sum: float
    squares: float


def joined_moments(sets: Iterable[Moments]) -> Moments:
    """Return the moments of all values of `sets`."""
    some = [one for one in sets if one.weight > 0.0]
    if not some:
        return Moments(0.0, 0.0, 0.0)
    weight, total = _sum([one.weight for one in some]), _sum([one.sum for one in some])
    mean = total / weight
    apart = [one.weight * (one.sum / one.weight - mean) * (one.sum / one.weight - mean) for one in some]
    return Moments(weight, total, _sum([*(one.squares for one in some), *apart]))


def _sum(values: list[float]) -> float:
    """Return the exact sum, rounded once; infinite where it overflows."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # too large on the way, or infinities of both signs
        return sum(values)
