"""The parts that all charts share: plot area, grid, axes, gaps, bands; as SVG with classes, without a style of its own.

Sizes are in the units of the viewBox, which is drawn at about one unit a pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from esper_telemetry.report.escaping import Markup, element, join
from esper_telemetry.report.scales import Scale, Tick, ticks, time_ticks
from esper_telemetry.views.cell import unit_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from esper_telemetry.views.figure import Axis, Gap

_TICK_LENGTH = 3.0
_LEAST_GAP = 3.0
_WIDE = 800


@dataclass(frozen=True, slots=True)
class Size:
    """Size of a chart and the margins of its plot area."""

    width: float = 400
    height: float = 160
    left: float = 46
    right: float = 10
    top: float = 8
    bottom: float = 20

    @property
    def inner_right(self) -> float:
        """Right edge of the plot area."""
        return self.width - self.right

    @property
    def inner_bottom(self) -> float:
        """Bottom edge of the plot area."""
        return self.height - self.bottom


WIDE = Size(width=1240, height=220, left=46)


@dataclass(slots=True)
class Canvas:
    """An SVG that is being drawn.

    Attributes:
        size: its size.
        x: scale of the x axis.
        y: scale of the y axis; None where rows are placed by hand.
    """

    size: Size
    x: Scale
    y: Scale | None = None
    parts: list[Markup] = field(default_factory=list)

    def add(self, *parts: Markup) -> None:
        """Draw something on top."""
        self.parts += parts

    def svg(self, label: str, attributes: dict[str, object] | None = None) -> Markup:
        """Return the finished element.

        Args:
            label: what a screen reader tells of it.
            attributes: more attributes.
        """
        known: dict[str, object] = {
            "class": "chart" + (" wide" if self.size.width > _WIDE else ""),
            "viewBox": f"0 0 {self.size.width:g} {self.size.height:g}",
            "role": "img",
            "aria-label": label,
        }
        return element("svg", known | (attributes or {}), *self.parts)


def x_ticks(axis: Axis, low: float, high: float, width: float) -> list[Tick]:
    """Return the named values of an x axis."""
    count = max(2, int(width / (74 if axis.times else 52)))
    if axis.times:
        return time_ticks(low, high, count)
    return ticks(low, high, count, unit=axis.unit, whole=high - low >= 1)


def draw_x_axis(canvas: Canvas, axis: Axis) -> None:
    """Draw the x axis below the plot area."""
    size, scale = canvas.size, canvas.x
    bottom = size.inner_bottom
    canvas.add(element("line", {"class": "axis", "x1": size.left, "x2": size.inner_right, "y1": bottom, "y2": bottom}))
    shown = x_ticks(axis, scale.low, scale.high, scale.end - scale.start)
    taken = -math.inf
    for tick in shown:
        at = scale.at(tick.value)
        half = len(tick.text) * 3.2
        canvas.add(element("line", {"class": "axis", "x1": at, "x2": at, "y1": bottom, "y2": bottom + _TICK_LENGTH}))
        if at - half > taken + 6 and at + half < size.width:
            canvas.add(element("text", {"class": "tick mid", "x": at, "y": bottom + 14}, tick.text))
            taken = at + half


def draw_y_axis(canvas: Canvas, unit: str, count: int = 4) -> None:
    """Draw grid lines with their values to the left of the plot area."""
    size, scale = canvas.size, canvas.y
    if scale is None:
        return
    for tick in ticks(scale.low, scale.high, count, unit=unit):
        at = scale.at(tick.value)
        canvas.add(
            element("line", {"class": "grid", "x1": size.left, "x2": size.inner_right, "y1": at, "y2": at}),
            element("text", {"class": "tick end", "x": size.left - 6, "y": at + 3.5}, tick.text),
        )


def draw_gaps(canvas: Canvas, gaps: Iterable[Gap]) -> None:
    """Hatch where sequence numbers are missing; an open end reaches the edge of the plot area."""
    size = canvas.size
    for gap in gaps:
        start = size.left if gap.start is None else canvas.x.at(gap.start)
        end = size.inner_right if gap.end is None else canvas.x.at(gap.end)
        width = max(_LEAST_GAP, end - start)
        start = min(start, size.inner_right - width)
        box = {"class": "gap", "x": start, "y": size.top, "width": width, "height": size.inner_bottom - size.top}
        canvas.add(element("rect", box, element("title", {}, gap.text)))


def x_bounds(values: Iterable[float]) -> tuple[float, float]:
    """Return the bounds of finite positions; (0, 1) without any."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def least_step(at: Sequence[float]) -> float:
    """Return the smallest distance between neighbouring positions; 1 without any."""
    return min((b - a for a, b in pairwise(at) if b > a), default=1.0)


def path(points: Sequence[tuple[float, float, bool]]) -> str:
    """Return a path; a point that is not joined begins a new stretch."""
    parts = []
    for x, y, joined in points:
        parts.append(f"{'L' if joined else 'M'}{x:.1f} {y:.1f}")
    return "".join(parts)


def swatch(hue: int, *, dashed: bool = False) -> Markup:
    """Return the sample of a line's colour for a legend."""
    line = element(
        "line", {"class": f"line h{hue % HUES}" + (" dashed" if dashed else ""), "x1": 0, "x2": 16, "y1": 5, "y2": 5}
    )
    return element("svg", {"class": "swatch", "viewBox": "0 0 16 10", "aria-hidden": "true"}, line)


def legend(entries: Iterable[tuple[Markup, str]]) -> Markup:
    """Return a legend: samples with their names."""
    items = [element("span", {"class": "key"}, sample, " ", name) for sample, name in entries]
    return element("div", {"class": "legend"}, join(items)) if items else Markup("")


HUES = 8
"""Colours of lines; a line beyond shares the colour of one before it, and has its name in the tooltip."""


def by_axis(axis: Axis) -> str:
    """Return what a figure is drawn by, for its caption."""
    unit = unit_text(axis.unit)
    return f"by {axis.label}, {unit}" if unit and not axis.times else f"by {axis.label}"
