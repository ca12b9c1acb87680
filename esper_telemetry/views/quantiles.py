"""Median and quartiles of a bounded sample: exact up to MOST values, then of every second, fourth, ... one."""

from __future__ import annotations

import math

from esper_telemetry.views.cell import plain_number

MOST = 4096


def quantile(ordered: list[float], share: float) -> float:
    """Return the value below which a share of ordered values lies, interpolated between neighbours."""
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


class Sample:
    """Values of which quantiles are asked.

    Attributes:
        count: values given, finite or not.
        not_finite: those that were NaN or infinite; they are in no quantile.
    """

    def __init__(self) -> None:
        self.count = 0
        self.not_finite = 0
        self._each = 1
        self._values: list[float] = []

    def add(self, value: float) -> None:
        """Add a value."""
        self.count += 1
        if not math.isfinite(value):
            self.not_finite += 1
        elif self.count % self._each == 0:
            self._values.append(value)
            if len(self._values) > MOST:
                self._values = self._values[1::2]
                self._each *= 2

    def quantiles(self, *shares: float) -> list[float] | None:
        """Return the quantiles; None without a finite value."""
        ordered = sorted(self._values)
        return [quantile(ordered, share) for share in shares] if ordered else None

    @property
    def text(self) -> str:
        """Median and quartiles as text: "3.2 [1.5, 4.0]"."""
        found = self.quantiles(0.5, 0.25, 0.75)
        if found is None:
            return "NaN"
        median, low, high = map(plain_number, found)
        return f"{median} [{low}, {high}]"
