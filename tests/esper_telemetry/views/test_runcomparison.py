"""Runs beside each other: a result stands beside its control, and without one there is no difference."""

from __future__ import annotations

import pytest

from esper_telemetry import events, read
from esper_telemetry.views import PANELS, RunComparison, RunView
from esper_telemetry.views.cell import CellState
from esper_telemetry.views.figure import Series, Table


@pytest.fixture
def compared(record_run, tmp_path):
    """A function that records runs and compares them."""

    def compare(*runs) -> RunComparison:
        views = []
        for at, (name, config, accuracy) in enumerate(runs):

            def fill(run, accuracy=accuracy):
                for batch in (1, 2):
                    run.bind(batch_idx=batch).emit(events.BatchCompleted, mean_accuracy=accuracy + batch)
                run.results["val_accuracy"] = accuracy

            view = RunView(PANELS)
            view.feed(read(record_run(fill, name=name, folder=tmp_path / str(at), config=config)))
            views.append(view)
        return RunComparison(views)

    return compare


def table(comparison, title) -> Table:
    return next(f for f in comparison.figures() if isinstance(f, Table) and f.title == title)


def test_each_result_stands_beside_the_control(compared):
    comparison = compared(("wait", {"policy": "wait"}, 80.0), ("grown", {"policy": "ppo"}, 82.5))
    (row,) = table(comparison, "Results beside the control").rows
    assert [cell.value for cell in row] == ["val_accuracy", "grown", 82.5, 80.0, 2.5]
    assert [run.label for run in comparison.runs] == ["grown", "wait"]


def test_without_a_control_there_is_no_difference(compared):
    shown = table(compared(("a", {}, 80.0), ("b", {}, 82.5)), "Results beside the control")
    for row in shown.rows:
        assert row[3].state is row[4].state is CellState.UNAVAILABLE
        assert "no control run" in row[4].reason
    assert "No control" in shown.explanation


def test_settings_that_differ_are_listed_and_those_that_agree_are_not(compared):
    comparison = compared(("a", {"lr": 1, "deep": {"x": 1}}, 1.0), ("b", {"lr": 1, "deep": {"x": 2}, "y": None}, 1.0))
    rows = table(comparison, "Settings that differ").rows
    assert [[cell.text for cell in row] for row in rows] == [["deep.x", "1", "2"], ["y", "—", "null"]]


def test_lines_of_the_runs_are_overlaid_and_the_control_is_dashed(compared):
    comparison = compared(("same", {"policy": "wait"}, 80.0), ("same", {}, 82.0))
    series = next(f for f in comparison.figures() if isinstance(f, Series) and f.title == "mean accuracy")
    assert [line.dashed for line in series.lines] == [False, True]
    assert [[p.y for p in line.points] for line in series.lines] == [[83.0, 84.0], [81.0, 82.0]]
    assert len({line.name for line in series.lines}) == 2
