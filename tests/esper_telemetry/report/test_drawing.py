"""Figures as SVG: what is drawn has the numbers of the figure, and what was not measured is not drawn as a number."""

from __future__ import annotations

import math
import re

import pytest

from esper_telemetry.report.chartframe import Size
from esper_telemetry.report.drawheat import bucket_names, draw_heat, draw_histogram, heat_legend
from esper_telemetry.report.drawlanes import draw_lanes, lanes_legend
from esper_telemetry.report.drawseries import described, draw_series, series_data, series_legend
from esper_telemetry.report.drawstack import draw_stack, stack_legend
from esper_telemetry.report.markup import cell_text, column_decimals, footer_text, grid, strip, table
from esper_telemetry.views import cell
from esper_telemetry.views.figure import (
    Axis,
    Band,
    Footer,
    Gap,
    Grid,
    Heat,
    Histogram,
    Interval,
    Item,
    Lane,
    Lanes,
    Line,
    Mark,
    Point,
    Series,
    Stack,
    Strip,
    Table,
    TableColumn,
    Tile,
)

SIZE = Size()


def series_of(*values, joined=True, **options) -> Series:
    points = tuple(Point(at, value, at + 10, joined and at > 0) for at, value in enumerate(values))
    return Series("loss", Axis("batch"), Axis("loss", "1"), (Line("", points, len(points)),), **options)


def drawn(svg, scale_low, scale_high):
    """Return the points of the line as values: pixels turned back by the scales of the chart."""
    found = []
    for kind, x, y in re.findall(r"([ML])([\d.]+) ([\d.]+)", svg.one("path", class_="line").attributes["d"]):
        share = (SIZE.inner_bottom - float(y)) / (SIZE.inner_bottom - SIZE.top - 4)
        low, high = (float(svg.attributes[f"data-{end}"]) for end in ("low", "high"))
        start, end = (float(svg.attributes[f"data-{end}"]) for end in ("start", "end"))
        found.append(
            (
                kind,
                low + (float(x) - start) / (end - start) * (high - low),
                scale_low + share * (scale_high - scale_low),
            )
        )
    return found


def test_a_line_has_the_values_of_its_measurements(parse):
    svg = parse(draw_series(series_of(0.0, 1.0, 4.0, 2.0))).one("svg")
    points = drawn(svg, 0.0, 4.0)
    assert [kind for kind, _, _ in points] == ["M", "L", "L", "L"]
    assert [round(x, 1) for _, x, _ in points] == [0, 1, 2, 3]
    assert [y for _, _, y in points] == pytest.approx([0, 1, 4, 2], abs=0.02)


def test_nan_breaks_a_line_and_is_named(parse):
    svg = parse(draw_series(series_of(1.0, math.nan, 2.0, -math.inf))).one("svg")
    assert [kind for kind, _, _ in drawn(svg, 1.0, 2.0)] == ["M", "M"]
    assert [text.text for text in svg.all("text", class_="odd")] == ["NaN", "\N{MINUS SIGN}∞"]


def test_only_nan_is_a_chart_too(parse):
    svg = parse(draw_series(series_of(math.nan, math.nan))).one("svg")
    assert svg.one("path", class_="line").attributes["d"] == ""
    assert "no finite measurement" in svg.attributes["aria-label"]


def test_a_gap_is_hatched_and_a_band_has_its_edge(parse):
    gap = Gap(1.0, 2.0, 7, "7 sequence numbers are missing here")
    band = Band(1.5, None, cell.Tone.WARNING, "too high")
    figure = series_of(1.0, 2.0, 3.0, joined=False, gaps=(gap,), bands=(band,))
    svg = parse(draw_series(figure)).one("svg")
    box = svg.one("rect", class_="gap")
    assert box.one("title").text == "7 sequence numbers are missing here"
    start, end = float(svg.attributes["data-start"]), float(svg.attributes["data-end"])
    assert float(box.attributes["x"]) == pytest.approx((start + end) / 2, abs=0.1)
    assert float(box.attributes["width"]) == pytest.approx((end - start) / 2, abs=0.1)
    assert svg.one("rect", class_="band").one("title").text == "too high"
    assert len(svg.all("line", class_="limit")) == 1
    assert [kind for kind, _, _ in drawn(svg, 1.0, 3.0)] == ["M", "M", "M"]


def test_the_numbers_for_the_tooltip_are_those_of_the_figure():
    import json

    figure = series_of(0.1, math.inf, 1 / 3, marks=(Mark(1.0, "∅", "skipped", 11),))
    data = json.loads(series_data(figure))
    assert data["lines"][0]["points"] == [[0, 0.1, 10], [1, "Infinity", 11], [2, 0.333333333, 12]]
    assert data["marks"] == [[1, "∅", "skipped", 11]]


def test_a_screen_reader_is_told_the_extent():
    text = described(series_of(1.0, 3.0, gaps=(Gap(0, 1, 1, ""),)))
    assert "2 measurements from 1 to 3, last 3" in text
    assert "1 gaps in the sequence numbers" in text


def test_many_lines_have_a_legend_that_counts_them(parse):
    line = series_of(1.0).lines[0]
    few = Series("s", Axis("x"), Axis("y"), (line, Line("b", line.points, 1, 1)))
    assert [key.text.strip() for key in parse(series_legend(few)).all("span", class_="key")] == ["all", "b"]
    many = Series("s", Axis("x"), Axis("y"), tuple(Line(f"env {at}", line.points, 1, at) for at in range(64)))
    assert parse(series_legend(many)).text == "64 lines: env 0 … env 63"
    assert series_legend(series_of(1.0)) == ""


def test_shares_fill_the_bar_and_failures_are_hatched(parse):
    stack = Stack(
        "mix",
        Axis("batch"),
        "{action}",
        ("WAIT", "CULL"),
        (1.0, 2.0),
        ((3, 1), (0, 4)),
        ((0, 1), (None, None)),
        share=True,
    )
    svg = parse(draw_stack(stack)).one("svg")
    heights = [float(box.attributes["height"]) for box in svg.all("rect", class_="part")]
    whole = 220 - 20 - 8 - 4
    assert heights == pytest.approx([0.75 * whole, 0.25 * whole, whole], abs=0.7)
    assert len(svg.all("rect", class_="failed")) == 1
    assert (
        svg.all("rect", class_="part")[1]
        .one("title")
        .text.startswith("CULL, batch 1: 1 of 4 (25.0 %), 1 took no effect")
    )
    assert svg.all("rect", class_="idle")
    assert [key.text.strip() for key in parse(stack_legend(stack)).all("span", class_="key")] == ["WAIT", "CULL"]


def test_signed_amounts_stand_on_both_sides_of_zero_and_none_is_no_bar(parse):
    stack = Stack("sums", Axis("batch"), "1", ("a", "b", "c"), (1.0,), ((10.0, -10.0, None),))
    boxes = parse(draw_stack(stack)).one("svg").all("rect", class_="part")
    tops = [float(box.attributes["y"]) for box in boxes]
    assert len(boxes) == 2
    assert tops[1] - tops[0] == pytest.approx(float(boxes[0].attributes["height"]), abs=0.7)


def test_a_heat_leaves_empty_what_was_not_measured(parse):
    heat = Heat(
        "masked",
        Axis("batch"),
        "1",
        ("a", "b"),
        ("op", "op"),
        (1.0, 2.0),
        ((0.0, 1.0), (None, 0.5)),
        ((None, (4, 4)), (None, (2, 4))),
        seqs=(7, 8),
    )
    boxes = parse(draw_heat(heat)).one("svg").all("rect", class_="shade")
    assert [box.attributes["class"] for box in boxes] == ["shade zero", "shade s8", "shade none", "shade s4"]
    assert boxes[1].one("title").text == "op a, batch 2: 100.0 % (4 of 4); event 8"
    assert "not measured" in boxes[2].one("title").text
    assert "0 %" in parse(heat_legend(heat)).text


def test_a_histogram_names_its_open_buckets(parse):
    assert bucket_names((0.0, 1.0)) == ["< 0", "0 to 1", "≥ 1"]
    histogram = Histogram("value", Axis("batch"), "{value}", (0.0, 1.0), (1.0,), ((1, 3, 0),), (2,))
    boxes = parse(draw_histogram(histogram)).one("svg").all("rect", class_="shade")
    assert [box.one("title").text for box in boxes] == [
        "< 0, batch 1: 1 of 4 values, 2 more were NaN",
        "0 to 1, batch 1: 3 of 4 values, 2 more were NaN",
        "≥ 1, batch 1: 0 of 4 values, 2 more were NaN",
    ]


def test_lanes_draw_heights_and_join_what_is_narrower_than_a_pixel(parse):
    stay = Interval(0.0, 10_000.0, "blending", ((0.0, 0.0), (5000.0, 1.0)), "blending: norm", 3)
    short = tuple(
        Interval(10_000 + at / 100, 10_000 + (at + 1) / 100, "training", (), "training", 9) for at in range(100)
    )
    marks = (Mark(10.0, "✕", "culled: timeout", 5, cell.Tone.WARNING),)
    lanes = Lanes(
        "Seeds",
        Axis("epoch"),
        (("blending", "b"), ("training", "t")),
        (("✕", "culled"),),
        (Lane("mid", "env 0", (stay, *short), marks),),
    )
    svg = parse(draw_lanes(lanes)).one("svg")
    shapes = svg.all("path", class_="stay")
    assert len(shapes) < 5
    assert "98 more stays" in shapes[-1].one("title").text or "99 more stays" in shapes[-1].one("title").text
    levels = [float(level) for level in re.findall(r"V([\d.]+)", shapes[0].attributes["d"])]
    assert levels[0] > levels[1]  # alpha rises: the top edge moves up
    (mark,) = svg.all("text", class_="mark")
    assert mark.attributes["data-seq"] == "5"
    assert "culled: timeout" in mark.text
    assert "blending" in parse(lanes_legend(lanes)).text


@pytest.mark.parametrize(
    ("empty", "told"),
    [
        (cell.not_yet("no event"), "not yet: no event"),
        (cell.not_recorded("level minimal"), "not recorded at this level: level minimal"),
        (cell.unavailable("no_seed"), "unavailable: no_seed"),
        (cell.lost("numbers 4 to 9"), "lost: numbers 4 to 9"),
        (cell.measured(None), "unavailable: the event left the field unset: it was not measured"),
    ],
    ids=["not yet", "not recorded", "unavailable", "lost", "unset"],
)
def test_a_cell_without_a_measurement_is_a_dash_that_tells_why(empty, told, parse):
    shown = parse(cell_text(empty)).one("abbr")
    assert shown.text == "—"
    assert shown.attributes["title"] == told


def test_a_measured_zero_and_nan_are_shown(parse):
    assert cell_text(cell.measured(0.0, "%"), "%") == "0"
    assert cell_text(cell.measured(math.nan)) == "NaN"
    judged = parse(cell_text(cell.measured(3, tone=cell.Tone.BAD))).one("span", class_="bad")
    assert judged.text == "■ 3"  # a glyph besides the colour


def test_numbers_of_a_column_stand_under_each_other_unless_one_would_become_zero():
    cells = [cell.measured(value) for value in (100.0, 2.5, 0.25)]
    assert column_decimals(cells) == 1 or column_decimals(cells) is None
    assert column_decimals([cell.measured(value) for value in (100.04, 2.5)]) == 1
    assert column_decimals([cell.measured(value) for value in (100.04, 0.0001)]) is None
    assert column_decimals([cell.measured(value) for value in (1, 2)]) is None


def test_a_table_keeps_values_for_sorting_and_counts_what_is_hidden(parse):
    rows = ((cell.measured("a"), cell.measured(2.5, "ms")), (cell.measured("b"), cell.unavailable("none")))
    figure = Table(
        "t", (TableColumn("name"), TableColumn("time", "ms", "wall time", numeric=True)), rows, (4, None), hidden=3
    )
    tree = parse(table(figure))
    assert [cell.attributes["data-v"] for cell in tree.all("td")] == ["a", "2.5", "b", ""]
    assert tree.all("tr", data_seq="4")
    assert "3 more rows are not shown." in tree.text
    assert tree.all("th")[1].attributes["title"] == "wall time"


def test_strips_tiles_and_footers_are_text(parse):
    items = (Item("lost", cell.measured(0, tone=cell.Tone.GOOD)), Item("level", cell.not_yet()))
    tree = parse(strip(Strip("Record", items, cell.Tone.GOOD, "ALL CLEAR")))
    assert [node.text for node in tree.all("dd")] == ["● 0", "—"]
    assert "ALL CLEAR" in tree.one("p", class_="headline").text
    tiles = parse(grid(Grid("g", (Tile("env 0", items[0].cell, items),), hidden=2)))
    assert "2 more are not shown." in tiles.text
    assert footer_text(Footer(0, (), None, None, None)) == "from 0 events"
    told = footer_text(Footer(2, (("a.b", 2),), 3, 9, 1_000_000_000))
    assert told == "from 2 events of a.b; sequence numbers 3 to 9; last at 00:00:01.000 UTC"
