"""Stacked bars as SVG: shares of the whole, or signed amounts above and below zero; what failed is hatched."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.report.chartframe import (
    WIDE,
    Canvas,
    Size,
    draw_gaps,
    draw_x_axis,
    draw_y_axis,
    least_step,
    legend,
)
from esper_telemetry.report.escaping import Markup, element
from esper_telemetry.report.scales import Scale, nice_bounds
from esper_telemetry.views.cell import plain_number

if TYPE_CHECKING:
    from esper_telemetry.views.figure import Stack

PARTS = 8
"""Colours of parts; a part beyond shares one."""

IDLE = {"wait", "noop", "no_op", "none"}
"""Names of options that do nothing."""

_LEAST_HEIGHT = 0.4


class Bar(NamedTuple):
    """One bar: its number, its place in pixels, the sum of its amounts."""

    at: int
    left: float
    width: float
    total: float


def draw_stack(stack: Stack, size: Size = WIDE) -> Markup:
    """Return the SVG of stacked bars."""
    finite = [[one for one in amounts if one is not None and math.isfinite(one)] for amounts in stack.amounts]
    sums = [sum(amounts) for amounts in finite]
    if stack.share:
        low, high = 0.0, 100.0
    else:
        low = min((sum(one for one in amounts if one < 0) for amounts in finite), default=0.0)
        high = max((sum(one for one in amounts if one > 0) for amounts in finite), default=1.0)
        low, high = nice_bounds(low, high, 4, fixed_low=low >= 0, fixed_high=high <= 0)
    step = least_step(stack.at)
    first, last = (min(stack.at), max(stack.at)) if stack.at else (0.0, 1.0)
    canvas = Canvas(
        size,
        Scale(first - step / 2, last + step / 2, size.left, size.inner_right),
        Scale(low, high, size.inner_bottom, size.top + 4),
    )
    draw_y_axis(canvas, "%" if stack.share else "1")
    width = max(1.0, min(44.0, (size.inner_right - size.left) / max(1, (last - first) / step + 1) * 0.82))
    for at, position in enumerate(stack.at):
        bar = Bar(at, canvas.x.at(position) - width / 2, width, sums[at])
        _draw_bar(canvas, stack, bar)
    draw_gaps(canvas, stack.gaps)
    draw_x_axis(canvas, stack.x)
    if low < 0 < high and canvas.y is not None:
        zero = canvas.y.at(0)
        line = {"class": "axis", "x1": size.left, "x2": size.inner_right, "y1": zero, "y2": zero}
        canvas.add(element("line", line))
    return canvas.svg(_described(stack))


def stack_legend(stack: Stack) -> Markup:
    """Return the legend of the parts."""
    entries = [
        (
            element(
                "svg",
                {"class": "swatch", "viewBox": "0 0 16 10", "aria-hidden": "true"},
                element("rect", {"class": f"part {_colour(name, at)}", "width": 12, "height": 10, "rx": 2}),
            ),
            name,
        )
        for at, name in enumerate(stack.parts)
    ]
    return legend(entries)


def _draw_bar(canvas: Canvas, stack: Stack, bar: Bar) -> None:
    scale, at, total = canvas.y, bar.at, bar.total
    if scale is None:
        return
    up = down = 0.0
    for part, amount in enumerate(stack.amounts[at]):
        if amount is None or not math.isfinite(amount) or not amount:
            continue
        value = 100 * amount / total if stack.share and total else amount
        base = up if value > 0 else down
        top, bottom = scale.at(max(base, base + value)), scale.at(min(base, base + value))
        if value > 0:
            up += value
        else:
            down += value
        failed = stack.hatched[at][part] if stack.hatched else None
        box = {
            "class": f"part {_colour(stack.parts[part], part)}",
            "x": bar.left,
            "y": top,
            "width": bar.width,
            "height": max(_LEAST_HEIGHT, bottom - top - 0.6),
        }
        canvas.add(element("rect", box, element("title", {}, _told(stack, bar, part, amount, failed))))
        if failed:
            height = (bottom - top) * min(1.0, failed / amount)
            canvas.add(element("rect", {**box, "class": "failed", "height": max(_LEAST_HEIGHT, height - 0.6)}))


def _told(stack: Stack, bar: Bar, part: int, amount: float, failed: float | None) -> str:
    at, total = bar.at, bar.total
    where = f"{stack.x.label} {plain_number(stack.at[at])}"
    text = f"{stack.parts[part]}, {where}: {plain_number(amount)}"
    if stack.share and total:
        text += f" of {plain_number(total)} ({100 * amount / total:.1f} %)"
    if failed:
        text += f", {plain_number(failed)} took no effect"
    return text + (f"; event {stack.seqs[at]:,}" if stack.seqs else "")


def _colour(name: str, part: int) -> str:
    """Return the colour of a part; doing nothing is grey, so that what was done is seen first."""
    return "idle" if name.lower() in IDLE else f"p{part % PARTS}"


def _described(stack: Stack) -> str:
    parts = ", ".join(stack.parts)
    return f"{stack.title}: {len(stack.at)} bars by {stack.x.label}, of {parts}."
