"""Figures as text: what is missing is never a zero, a gap is never bridged, and a record cannot move the cursor."""

from __future__ import annotations

import math

import pytest
from rich.console import Console

import esper_telemetry
from esper_telemetry.decode import read
from esper_telemetry.terminal.drawing import BLOCKS, GAP, ODD, cell_text, figure_text, panel_text, shade, sparkline
from esper_telemetry.views.cell import Tone, lost, measured, not_yet
from esper_telemetry.views.figure import Axis, Line, Point, Series, Stack, Strip
from esper_telemetry.views.panels import PANELS
from esper_telemetry.views.runview import RunView

HOSTILE = "\x1b[31mred\x1b[0m\u202eevil\r\n"


def text_of(renderable, width: int = 120) -> str:
    console = Console(width=width, no_color=True, force_terminal=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def line(*values, joined=None) -> Line:
    joins = joined or [at > 0 for at in range(len(values))]
    points = tuple(Point(float(at), y, at + 1, join) for at, (y, join) in enumerate(zip(values, joins, strict=True)))
    return Line("", points, len(points))


def test_a_line_rises_from_the_lowest_to_the_highest_block():
    assert sparkline(line(*map(float, range(8))), 80, 0.0, 7.0) == BLOCKS


def test_a_gap_is_a_stroke_and_nan_a_question_mark():
    shown = sparkline(line(0.0, 1.0, math.nan, 1.0, joined=[False, False, True, True]), 80, 0.0, 1.0)
    assert shown == f"▁{GAP}█{ODD}█"


def test_only_the_last_points_fit():
    assert len(sparkline(line(*map(float, range(100))), 20, 0.0, 99.0)) == 20


def test_what_was_not_measured_is_a_dot_and_not_the_shade_of_zero():
    assert (shade(None, 0, 1), shade(math.nan, 0, 1), shade(0.0, 0, 1), shade(1.0, 0, 1)) == ("·", "·", " ", "█")


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (measured(0.0), "0"),
        (measured(math.nan), "NaN"),
        (measured(3, tone=Tone.BAD), "3 ✕"),
        (measured(1, tone=Tone.GOOD), "1 ✓"),
        (not_yet(), "— not yet"),
        (lost("shed"), "— lost"),
    ],
    ids=["zero", "nan", "bad", "good", "not yet", "lost"],
)
def test_a_cell_tells_its_state_and_its_tone_without_colour(cell, text):
    assert cell_text(cell).plain == text


def test_a_series_shows_its_latest_value_and_its_range():
    shown = text_of(figure_text(Series("loss", Axis("step"), Axis("loss", "nat"), (line(3.0, 2.0, 1.5),)), 100))
    assert "loss" in shown
    assert "1.500 nat" in shown
    assert "1.500 … 3" in shown


def test_a_part_that_was_not_measured_is_a_dash():
    figure = Stack("mix", Axis("batch"), "1", ("a", "b"), (1.0, 2.0), ((1.0, None), (3.0, None)))
    rows = text_of(figure_text(figure, 100)).splitlines()
    assert "100 %" in next(row for row in rows if " a " in row)
    assert "—" in next(row for row in rows if " b " in row)


def test_every_panel_of_a_run_with_everything_is_drawn_at_any_width(record_run):
    view = RunView(PANELS)
    view.feed(read(record_run()))
    for shown in view.figures():
        for width in (40, 80, 200):
            assert shown.panel.title in text_of(panel_text(shown, width), width)


@pytest.mark.parametrize("width", [60, 141])
def test_a_lane_and_a_line_take_one_row_each(record_run, width):
    view = RunView(PANELS)
    view.feed(read(record_run()))
    (lanes,) = view.panel_figures("seeds").figures
    (row,) = text_of(figure_text(lanes, width), width).splitlines()[1:][: len(lanes.lanes)]
    assert row.startswith("env 0 mid")
    assert "✕" in row
    for figure in view.panel_figures("learning").figures:
        assert len(text_of(figure_text(figure, width), width).splitlines()) == len(figure.lines)


def test_text_of_a_record_cannot_colour_move_or_turn_anything(record_run):
    def fill(run) -> None:
        run.emit(esper_telemetry.events.ScalarLogged, name=HOSTILE, value=1.0, step=1)

    view = RunView(PANELS)
    view.feed(read(record_run(fill)))
    for shown in view.figures():
        text = text_of(panel_text(shown, 160), 160)
        assert not {"\x1b", "\u202e", "\r"} & set(text), shown.panel.id
    strip = Strip(HOSTILE, (), Tone.PLAIN, HOSTILE)
    assert "\\x1b[31m" in text_of(figure_text(strip, 100))
