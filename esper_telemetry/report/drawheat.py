"""Heats and histograms as SVG: a box for each number, darker for more; what was not measured is empty and hatched."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from esper_telemetry.report.chartframe import Canvas, Size, draw_gaps, draw_x_axis, least_step
from esper_telemetry.report.escaping import Markup, element
from esper_telemetry.report.scales import Scale
from esper_telemetry.views.cell import plain_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.views.figure import Heat, Histogram

SHADES = 9
"""Steps of the colour; 0 is the faintest."""

_ROW = 17.0
_GROUP = 8.0
_LEFT = 148.0


def draw_heat(heat: Heat, width: float = 1240) -> Markup:
    """Return the SVG of a heat."""
    tops = _tops(heat.groups)
    size = Size(width=width, height=(tops[-1] + _ROW if tops else 0) + 26, left=_LEFT, top=4)
    canvas, box = _canvas(size, heat.at)
    span = heat.high - heat.low or 1.0
    group = None
    for row, top in enumerate(tops):
        if heat.groups[row] != group:
            group = heat.groups[row]
            canvas.add(element("text", {"class": "tick group", "x": 0, "y": top + 12.5}, group))
        canvas.add(element("text", {"class": "tick end", "x": size.left - 8, "y": top + 12.5}, heat.rows[row]))
        for column, value in enumerate(heat.values[row]):
            share = None if value is None else (value - heat.low) / span
            count = heat.counts[row][column] if heat.counts else None
            text = _told(heat, row, column, value, count)
            _draw_box(canvas, (canvas.x.at(heat.at[column]) - box / 2, top, box), share, text)
    draw_gaps(canvas, heat.gaps)
    draw_x_axis(canvas, heat.x)
    label = f"{heat.title}: {len(heat.rows)} rows and {len(heat.at)} columns by {heat.x.label}."
    return canvas.svg(label)


def draw_histogram(histogram: Histogram, width: float = 1240) -> Markup:
    """Return the SVG of histograms: buckets from the bottom up, shares of each column as colours."""
    names = bucket_names(histogram.edges)
    size = Size(width=width, height=len(names) * _ROW + 30, left=_LEFT, top=4)
    canvas, box = _canvas(size, histogram.at)
    most = max((max(column, default=0) / (sum(column) or 1) for column in histogram.counts), default=1.0) or 1.0
    for bucket, name in enumerate(names):
        top = 6 + (len(names) - 1 - bucket) * _ROW
        canvas.add(element("text", {"class": "tick end", "x": size.left - 8, "y": top + 12.5}, name))
        for column, counts in enumerate(histogram.counts):
            total = sum(counts)
            share = counts[bucket] / total / most if total else None
            where = f"{histogram.x.label} {plain_number(histogram.at[column])}"
            text = f"{name}, {where}: {counts[bucket]:,} of {total:,} values"
            nan = histogram.nan[column] if histogram.nan else None
            text += f", {nan:,} more were NaN" if nan else ""
            _draw_box(canvas, (canvas.x.at(histogram.at[column]) - box / 2, top, box), share, text)
    draw_gaps(canvas, histogram.gaps)
    draw_x_axis(canvas, histogram.x)
    return canvas.svg(f"{histogram.title}: {len(names)} buckets and {len(histogram.at)} columns.")


def bucket_names(edges: Sequence[float]) -> list[str]:
    """Return the names of buckets; the first and the last one are open."""
    if not edges:
        return ["all"]
    texts = [plain_number(edge) for edge in edges]
    inner = [f"{low} to {high}" for low, high in pairwise(texts)]
    return [f"< {texts[0]}", *inner, f"≥ {texts[-1]}"]


def heat_legend(heat: Heat) -> Markup:
    """Return the scale of the colours."""
    boxes = [
        element("rect", {"class": f"shade s{shade}", "x": shade * 14, "width": 14, "height": 10})
        for shade in range(SHADES)
    ]
    scale = element("svg", {"class": "scale", "viewBox": f"0 0 {SHADES * 14} 10", "aria-hidden": "true"}, *boxes)
    low, high = (f"{100 * value:g} %" if heat.unit == "1" else plain_number(value) for value in (heat.low, heat.high))
    return element("div", {"class": "legend"}, element("span", {"class": "key"}, low, " ", scale, " ", high))


def _tops(groups: Sequence[str]) -> list[float]:
    tops: list[float] = []
    top = 6.0
    for at, group in enumerate(groups):
        if at and group != groups[at - 1]:
            top += _GROUP
        tops.append(top)
        top += _ROW
    return tops


def _canvas(size: Size, at: Sequence[float]) -> tuple[Canvas, float]:
    """Return an empty canvas and the width of a column."""
    step = least_step(at)
    low, high = (min(at) - step / 2, max(at) + step / 2) if at else (0.0, 1.0)
    scale = Scale(low, high, size.left, size.inner_right)
    columns = max(1.0, (high - low) / step)
    return Canvas(size, scale), min(110.0, (size.inner_right - size.left) / columns)


def _draw_box(canvas: Canvas, place: tuple[float, float, float], share: float | None, text: str) -> None:
    left, top, width = place
    shade = "none" if share is None else f"s{max(0, min(SHADES - 1, round(share * (SHADES - 1))))}"
    if share == 0:
        shade = "zero"
    box = {"class": f"shade {shade}", "x": left, "y": top, "width": max(0.6, width - 0.8), "height": _ROW - 1.2}
    canvas.add(element("rect", box, element("title", {}, text)))


def _told(heat: Heat, row: int, column: int, value: float | None, count: tuple[int, int] | None) -> str:
    where = f"{heat.groups[row]} {heat.rows[row]}, {heat.x.label} {plain_number(heat.at[column])}"
    if value is None:
        return f"{where}: not measured, or never allowed"
    shown = f"{100 * value:.1f} %" if heat.unit == "1" else plain_number(value)
    of = f" ({count[0]:,} of {count[1]:,})" if count else ""
    return f"{where}: {shown}{of}" + (f"; event {heat.seqs[column]:,}" if heat.seqs else "")
