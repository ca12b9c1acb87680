"""Cells and figures as values: what was not measured is a dash, and JSON holds no number that was not there."""

from __future__ import annotations

import json
import math

import pytest

from esper_telemetry.views import cell
from esper_telemetry.views.figure import Axis, Item, Line, Point, Series, Strip, document


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "1", "0"),
        (0.0, "%", "0 %"),
        (0.123456, "1", "0.1235"),
        (88.75, "%", "88.75 %"),
        (1234.5, "ms", "1.234 s"),
        (40815, "By", "39.9 KiB"),
        (-2.5, "nat", "\N{MINUS SIGN}2.500 nat"),
        (math.nan, "1", "NaN"),
        (-math.inf, "1", "\N{MINUS SIGN}∞"),
        (12_345_678, "{step}", "12,345,678 step"),
        (3e-7, "1", "3e\N{MINUS SIGN}07"),
        (True, "", "yes"),
    ],
)
def test_a_number_is_read_with_its_unit(value, unit, text):
    assert cell.measured(value, unit).text == text


@pytest.mark.parametrize(
    "empty",
    [cell.not_yet(), cell.not_recorded("level"), cell.unavailable("no_seed"), cell.lost("gap"), cell.measured(None)],
)
def test_what_was_not_measured_is_a_dash_with_a_reason(empty):
    assert empty.text == "—"
    assert empty.reason
    assert empty.state is not cell.CellState.MEASURED


def test_a_figure_becomes_json_without_numbers_that_json_has_not():
    points = (Point(1.0, math.nan, 3, joined=False), Point(2.0, -math.inf, 4, joined=True))
    series = Series("loss", Axis("batch"), Axis("loss", "1"), (Line("env 0", points, 2),))
    strip = Strip("s", (Item("x", cell.unavailable("why")),))
    text = json.dumps(document([series, strip]), allow_nan=False)
    drawn, told = json.loads(text)
    assert drawn["figure"] == "Series"
    assert drawn["lines"][0]["points"] == [[1.0, "NaN", 3, False], [2.0, "-Infinity", 4, True]]
    assert told["items"][0][1]["value"] is None
    assert told["items"][0][1]["state"] == "unavailable"
