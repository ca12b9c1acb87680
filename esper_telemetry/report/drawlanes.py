"""Lanes as SVG: intervals with colour, letter and height, and marks with glyphs, one row for each slot.

What is narrower than a pixel is joined with its neighbour, and each stay has a tooltip. Where there are more stays
than a reader can point at, they are drawn as one shape for each kind and lane, without tooltips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.report.chartframe import Canvas, Size, draw_gaps, draw_x_axis, legend
from esper_telemetry.report.escaping import Markup, element
from esper_telemetry.report.scales import Scale
from esper_telemetry.views.cell import Tone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.views.figure import Interval, Lane, Lanes, Mark

ROW = 19.0
_GROUP = 7.0
_THIN = 0.28
_LETTER = 16.0
_LEAST = 0.8
_DENSE = 1.6
MOST_STAYS = 3000
"""Stays that are drawn one by one: beyond, a lane of 1,100 pixels has one for every third pixel."""

_MARKS_APART = 7.0
_LEFT = 104.0


class Box(NamedTuple):
    """An interval in pixels; `stays` is how many it represents."""

    start: float
    end: float
    interval: Interval
    stays: int


class Row(NamedTuple):
    """A lane and the top of its row."""

    lane: Lane
    top: float


def draw_lanes(lanes: Lanes, width: float = 1240) -> Markup:
    """Return the SVG of lanes."""
    rows: list[Row] = []
    top = 6.0
    before = None
    for lane in lanes.lanes:
        if before is not None and lane.group != before:
            top += _GROUP
        rows.append(Row(lane, top))
        top += ROW
        before = lane.group
    size = Size(width=width, height=top + 24, left=_LEFT, top=4)
    low, high = _bounds(lanes)
    canvas = Canvas(size, Scale(low, high, size.left, size.inner_right - 6))
    _draw_episodes(canvas)
    letters = dict(lanes.kinds)
    dense = is_dense(lanes)
    group = ""
    for row in rows:
        if row.lane.group != group:
            group = row.lane.group
            canvas.add(element("text", {"class": "tick group", "x": 0, "y": row.top + 13}, group))
        _draw_row(canvas, row, letters, dense=dense)
    draw_gaps(canvas, lanes.gaps)
    draw_x_axis(canvas, lanes.x)
    return canvas.svg(_described(lanes))


def lanes_legend(lanes: Lanes) -> Markup:
    """Return what colours, letters and glyphs mean."""
    kinds = [
        (
            element(
                "svg",
                {"class": "swatch", "viewBox": "0 0 16 12", "aria-hidden": "true"},
                element("rect", {"class": f"stay {kind}", "width": 16, "height": 12, "rx": 2}),
                element("text", {"class": "letter mid", "x": 8, "y": 9.5}, letter),
            ),
            kind,
        )
        for kind, letter in lanes.kinds
    ]
    glyphs = [(element("span", {"class": "glyph"}, glyph), meaning) for glyph, meaning in lanes.glyphs]
    return legend([*kinds, *glyphs])


def _bounds(lanes: Lanes) -> tuple[float, float]:
    starts = [interval.start for lane in lanes.lanes for interval in lane.intervals]
    ends = [interval.end for lane in lanes.lanes for interval in lane.intervals if interval.end is not None]
    marks = [mark.x for lane in lanes.lanes for mark in lane.marks]
    known = [*starts, *ends, *marks]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    return float(int(low)), high if high > low else low + 1


def _draw_episodes(canvas: Canvas) -> None:
    """Draw a line at each whole position: an episode ends there."""
    size, scale = canvas.size, canvas.x
    if scale.high - scale.low > 80:  # noqa: PLR2004 - more lines than one can tell apart
        return
    for at in range(int(scale.low), int(scale.high) + 1):
        x = scale.at(at)
        canvas.add(element("line", {"class": "grid", "x1": x, "x2": x, "y1": size.top, "y2": size.inner_bottom}))


def _draw_row(canvas: Canvas, row: Row, letters: dict[str, str], *, dense: bool) -> None:
    size, bottom = canvas.size, row.top + ROW - 4
    label = {"class": "tick end", "x": size.left - 8, "y": row.top + 13}
    floor = {"class": "floor", "x1": size.left, "x2": size.inner_right, "y1": bottom, "y2": bottom}
    canvas.add(element("text", label, row.lane.name), element("line", floor))
    boxes = _boxes(canvas, row.lane.intervals, _DENSE if dense else _LEAST)
    if dense:
        _draw_shapes(canvas, row, boxes)
    else:
        for box in boxes:
            _draw_stay(canvas, row, box, letters)
    _draw_marks(canvas, row, 2 * _MARKS_APART if dense else _MARKS_APART)


def is_dense(lanes: Lanes) -> bool:
    """Tell whether there are more stays than can be pointed at."""
    return sum(len(lane.intervals) for lane in lanes.lanes) > MOST_STAYS


def _boxes(canvas: Canvas, intervals: Sequence[Interval], least: float) -> list[Box]:
    """Return intervals with their pixels; those narrower than `least` are joined with what they touch."""
    boxes: list[Box] = []
    for interval in intervals:
        start = canvas.x.at(interval.start)
        end = canvas.size.inner_right if interval.end is None else canvas.x.at(interval.end)
        if boxes and end - boxes[-1].start < least:
            first, _, known, count = boxes[-1]
            boxes[-1] = Box(first, max(end, first + least), known, count + 1)
        else:
            boxes.append(Box(start, max(end, start + least), interval, 1))
    return boxes


def _draw_shapes(canvas: Canvas, row: Row, boxes: Sequence[Box]) -> None:
    """Draw the stays of a lane as one shape for each kind: as high as alpha was at the end of each."""
    shapes: dict[str, list[str]] = {}
    bottom = row.top + ROW - 4
    for start, end, interval, _ in boxes:
        alpha = interval.heights[-1][1] if interval.heights else 0.0
        height = (ROW - 5) * (_THIN + (1 - _THIN) * alpha)
        shapes.setdefault(interval.kind, []).append(f"M{start:.1f} {bottom:.1f}v-{height:.1f}H{end:.1f}v{height:.1f}")
    for kind, parts in shapes.items():
        canvas.add(element("path", {"class": f"stay {kind}", "d": "".join(parts)}))


def _draw_stay(canvas: Canvas, row: Row, box: Box, letters: dict[str, str]) -> None:
    start, end, interval, count = box
    height, bottom = ROW - 5, row.top + ROW - 4
    top = bottom - height * _THIN
    shape = [f"M{start:.1f} {bottom:.1f}"]
    if interval.heights:
        level = bottom - height * (_THIN + (1 - _THIN) * interval.heights[0][1])
        shape.append(f"V{level:.1f}")
        for at, alpha in interval.heights[1:]:
            level = bottom - height * (_THIN + (1 - _THIN) * alpha)
            shape.append(f"H{max(start, min(end, canvas.x.at(at))):.1f}V{level:.1f}")
        top = level
    else:
        shape.append(f"V{top:.1f}")
    shape.append(f"H{end:.1f}V{bottom:.1f}Z")
    more = f"\n{count - 1} more stays are too short to be drawn" if count > 1 else ""
    title = element("title", {}, f"{interval.text}{more}\nevent {interval.seq:,}")
    attributes = {"class": f"stay {interval.kind}", "d": "".join(shape), "data-seq": interval.seq}
    canvas.add(element("path", attributes, title))
    if end - start >= _LETTER and bottom - top > height * 0.6:
        letter = {"class": "letter mid", "x": (start + end) / 2, "y": bottom - 4}
        canvas.add(element("text", letter, letters.get(interval.kind, "")))


def _draw_marks(canvas: Canvas, row: Row, apart: float) -> None:
    """Draw glyphs; gates that would cover another mark are left out, for their numbers are in the tooltips of stays.

    Among very many marks, all but the bad ones are.
    """
    taken: set[int] = set()
    for mark in sorted(row.lane.marks, key=_weight):
        x = canvas.x.at(mark.x)
        crowded = round(x / apart) in taken
        if crowded and (mark.tone is Tone.MUTED or (apart > _MARKS_APART and mark.tone is not Tone.BAD)):
            continue
        taken.add(round(x / apart))
        attributes = {"class": f"mark mid {mark.tone or 'plain'}", "x": x, "y": row.top + 12, "data-seq": mark.seq}
        title = element("title", {}, f"{mark.text}\nevent {mark.seq:,}")
        canvas.add(element("text", attributes, mark.glyph, title))


def _weight(mark: Mark) -> int:
    order = (Tone.BAD, Tone.GOOD, Tone.WARNING, Tone.PLAIN, Tone.MUTED)
    return order.index(mark.tone)


def _described(lanes: Lanes) -> str:
    stays = sum(len(lane.intervals) for lane in lanes.lanes)
    return f"{lanes.title}: {stays:,} stays in {len(lanes.lanes)} lanes by {lanes.x.label}."
