"""Figures that a bench reports for the one table of `make bench`, beside what it prints itself.

    figures.report("emit, ten scalars, training thread", timings.ratio(EMIT, BASE), of="build + serialize", goal=1.5)

A figure is a ratio of two contenders in the same rounds, or of two sizes of the same events. Without
ESPER_BENCH_FIGURES, the file that suite.py reads, nothing is kept.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from paired import Ratio

VARIABLE = "ESPER_BENCH_FIGURES"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table.

    Attributes:
        subject: what was measured.
        of: what it is compared with.
        median: of the ratios, round by round; the ratio itself where nothing varies.
        low: their lower quartile; None where nothing varies.
        high: their upper quartile; None where nothing varies.
        goal: what was aimed at; None where no document states one.
        at_least: the goal is a lower bound: more is better.
        unit: behind the figure; "x" for a ratio.
        headline: it is one of the few in the README.
    """

    subject: str
    of: str
    median: float
    low: float | None = None
    high: float | None = None
    goal: float | None = None
    at_least: bool = False
    unit: str = "x"
    headline: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the goal; None where there is none."""
        if self.goal is None:
            return None
        return self.median >= self.goal if self.at_least else self.median <= self.goal

    def to_json(self) -> dict[str, Any]:
        """Return it as an object of the file of figures."""
        return asdict(self)


def report(
    subject: str,
    value: Ratio | float,
    *,
    of: str,
    goal: float | None = None,
    at_least: bool = False,
    unit: str = "x",
    headline: bool = False,
) -> None:
    """Keep a figure for the table; arguments as the attributes of `Figure`."""
    name = os.environ.get(VARIABLE)
    if name is None:
        return
    ratio = value if isinstance(value, Ratio) else None
    figure = Figure(
        subject=subject,
        of=of,
        median=ratio.median if ratio else float(value),  # type: ignore[arg-type]  # it is no Ratio here
        low=ratio.low if ratio else None,
        high=ratio.high if ratio else None,
        goal=goal,
        at_least=at_least,
        unit=unit,
        headline=headline,
    )
    with Path(name).open("a") as file:
        file.write(json.dumps(figure.to_json()) + "\n")
