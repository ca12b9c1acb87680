"""Series as SVG: lines with every drawn measurement, bands, marks, hatched gaps; and their numbers for the tooltip."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from esper_telemetry.report.chartframe import (
    HUES,
    Canvas,
    Size,
    draw_gaps,
    draw_x_axis,
    draw_y_axis,
    legend,
    path,
    swatch,
    x_bounds,
)
from esper_telemetry.report.escaping import Markup, element, json_text
from esper_telemetry.report.scales import Scale, nice_bounds
from esper_telemetry.views.cell import Tone, number_text, unit_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esper_telemetry.views.figure import Line, Point, Series

_DOTS = 90
_MOST_NAMED = 8
_DIGITS = 9


def draw_series(series: Series, size: Size | None = None) -> Markup:
    """Return the SVG of a series.

    Args:
        series: what to draw.
        size: its size.
    """
    size = size or Size()
    canvas = Canvas(size, _x_scale(series, size), _y_scale(series, size))
    _draw_bands(canvas, series)
    draw_gaps(canvas, series.gaps)
    draw_y_axis(canvas, series.y.unit)
    draw_x_axis(canvas, series.x)
    many = len(series.lines) > _MOST_NAMED
    for line in series.lines:
        _draw_line(canvas, line, many=many)
    _draw_marks(canvas, series)
    canvas.add(element("line", {"class": "cursor", "x1": 0, "x2": 0, "y1": size.top, "y2": size.inner_bottom}))
    scale = canvas.x
    known: dict[str, object] = {
        "tabindex": "0",
        "data-x": series.x.label,
        "data-low": repr(float(scale.low)),
        "data-high": repr(float(scale.high)),
        "data-start": scale.start,
        "data-end": scale.end,
    }
    return canvas.svg(described(series), known)


def series_legend(series: Series) -> Markup:
    """Return the legend of a series; one line needs none, and very many have only their number."""
    if len(series.lines) <= 1:
        return Markup("")
    if len(series.lines) > _MOST_NAMED:
        first, last = series.lines[0].name, series.lines[-1].name
        return element("div", {"class": "legend"}, f"{len(series.lines)} lines: {first} … {last}")
    return legend((swatch(line.hue, dashed=line.dashed), line.name or "all") for line in series.lines)


def described(series: Series) -> str:
    """Return what a screen reader tells of a series: its extent in words."""
    unit = series.y.unit
    texts = [f"{series.title} by {series.x.label}."]
    for line in series.lines[:_MOST_NAMED]:
        finite = [point.y for point in line.points if math.isfinite(point.y)]
        name = f"{line.name}: " if line.name else ""
        if finite:
            low, high = number_text(min(finite), unit), number_text(max(finite), unit)
            texts.append(f"{name}{line.count:,} measurements from {low} to {high}, last {_last(line.points, unit)}.")
        else:
            texts.append(f"{name}no finite measurement.")
    if series.gaps:
        texts.append(f"{len(series.gaps)} gaps in the sequence numbers.")
    return " ".join(texts)


def series_data(series: Series) -> Markup:
    """Return the numbers of a series as JSON for the tooltip: [x, y, sequence number] of each drawn measurement."""
    lines = [
        {
            "name": line.name,
            "hue": line.hue % HUES,
            "stream": line.stream,
            "each": line.each,
            "count": line.count,
            "points": [[_round(point.x), _round(point.y), point.seq] for point in line.points],
        }
        for line in series.lines
    ]
    marks = [[_round(mark.x), mark.glyph, mark.text, mark.seq] for mark in series.marks]
    return json_text({"lines": lines, "marks": marks, "unit": unit_text(series.y.unit), "by": series.y.unit == "By"})


def _x_scale(series: Series, size: Size) -> Scale:
    values = [point.x for line in series.lines for point in line.points]
    low, high = x_bounds([*values, *(mark.x for mark in series.marks)])
    return Scale(low, high, size.left + 4, size.inner_right - 4)


def _y_scale(series: Series, size: Size) -> Scale:
    values = [point.y for line in series.lines for point in line.points if math.isfinite(point.y)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    axis = series.y
    fixed_low = axis.low is not None and low >= axis.low
    fixed_high = axis.high is not None and high <= axis.high and axis.low is not None
    if fixed_low and axis.low is not None:
        low = axis.low
    if fixed_high and axis.high is not None:
        high = axis.high
    if high == low == 0:
        high = 1.0
    low, high = nice_bounds(low, high, 4, fixed_low=fixed_low, fixed_high=fixed_high)
    return Scale(low, high, size.inner_bottom, size.top + 4)


def _draw_bands(canvas: Canvas, series: Series) -> None:
    scale, size = canvas.y, canvas.size
    if scale is None:
        return
    for band in series.bands:
        low = scale.low if band.low is None else max(scale.low, band.low)
        high = scale.high if band.high is None else min(scale.high, band.high)
        if high <= low:
            continue
        top = scale.at(high)
        box = {
            "class": f"band {band.tone or 'plain'}",
            "x": size.left,
            "y": top,
            "width": size.inner_right - size.left,
            "height": scale.at(low) - top,
        }
        canvas.add(element("rect", box, element("title", {}, band.text)))
        for limit in (band.low, band.high):
            if limit is not None and scale.low < limit < scale.high:
                at = scale.at(limit)
                edge = {"class": f"limit {band.tone or 'plain'}", "x1": size.left, "x2": size.inner_right}
                canvas.add(element("line", {**edge, "y1": at, "y2": at}))


def _draw_line(canvas: Canvas, line: Line, *, many: bool) -> None:
    scale, hue = canvas.y, f"h{line.hue % HUES}"
    if scale is None:
        return
    more = (" dashed" if line.dashed else "") + (" thin" if many else "")
    canvas.add(element("path", {"class": f"line {hue}{more}", "d": path(list(_placed(canvas, line.points, scale)))}))
    dots = [point for point in line.points if math.isfinite(point.y)]
    alone = [
        point
        for at, point in enumerate(line.points)
        if math.isfinite(point.y) and not point.joined and not _joins(line.points, at)
    ]
    shown = dots if len(dots) <= _DOTS and not many else alone
    marks = "".join(f"M{canvas.x.at(point.x):.1f} {scale.at(point.y):.1f}h0" for point in shown)
    if marks:
        canvas.add(element("path", {"class": f"dots {hue}", "d": marks}))
    for point in line.points:
        if not math.isfinite(point.y):
            _draw_odd(canvas, point, hue)


def _joins(points: tuple[Point, ...], at: int) -> bool:
    """Tell whether a line is drawn from a point to the next one."""
    return at + 1 < len(points) and points[at + 1].joined and math.isfinite(points[at + 1].y)


def _placed(canvas: Canvas, points: tuple[Point, ...], scale: Scale) -> Iterator[tuple[float, float, bool]]:
    """Yield the finite points; what follows one that is not finite begins a new stretch."""
    broken = False
    for point in points:
        if math.isfinite(point.y):
            yield canvas.x.at(point.x), scale.at(point.y), point.joined and not broken
            broken = False
        else:
            broken = True


def _draw_odd(canvas: Canvas, point: Point, hue: str) -> None:
    """Draw a measurement that is not finite at the edge of the plot area, with its name."""
    size = canvas.size
    at = canvas.x.at(point.x)
    text = "NaN" if math.isnan(point.y) else ("+∞" if point.y > 0 else "\N{MINUS SIGN}∞")
    canvas.add(
        element("line", {"class": f"odd {hue}", "x1": at, "x2": at, "y1": size.top + 12, "y2": size.inner_bottom}),
        element("text", {"class": "odd mid", "x": at, "y": size.top + 9}, text),
    )


def _draw_marks(canvas: Canvas, series: Series) -> None:
    size = canvas.size
    for mark in series.marks:
        at = canvas.x.at(mark.x)
        tone = mark.tone or Tone.PLAIN
        attributes = {"class": f"mark mid {tone or 'plain'}", "x": at, "y": size.inner_bottom - 3, "data-seq": mark.seq}
        canvas.add(element("text", attributes, mark.glyph, element("title", {}, mark.text)))


def _last(points: tuple[Point, ...], unit: str) -> str:
    return number_text(points[-1].y, unit) if points else "—"


def _round(value: float) -> Any:
    """Return a number to nine digits; what JSON has no number for as a text."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    short = float(f"{value:.{_DIGITS}g}")
    if abs(value) >= 10**_DIGITS:  # times: whole seconds are not enough
        short = round(value, 3)
    return int(short) if short == int(short) else short
