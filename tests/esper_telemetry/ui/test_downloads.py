"""The data of every kind of figure as CSV: all of its numbers, under one head, safe for a spreadsheet."""

from __future__ import annotations

import csv
import io
import math

import esper_telemetry
from esper.v1 import seed_pb2
from esper_telemetry.decode import read
from esper_telemetry.ui.downloads import HEAD, panel_csv
from esper_telemetry.ui.runfold import panel_document
from esper_telemetry.v1 import training_pb2
from esper_telemetry.views import RunView
from esper_telemetry.views.panels import PANELS


def rows(path, panel: str) -> list[dict[str, str]]:
    view = RunView(PANELS)
    view.feed(read(path))
    text = panel_csv(panel_document(view.panel_figures(panel)))
    assert text.splitlines()[0] == ",".join(HEAD)
    return list(csv.DictReader(io.StringIO(text)))


def test_every_point_of_a_line_is_a_row_with_its_number(record_run):
    def fill(run) -> None:
        for step, value in enumerate([0.5, math.nan, 0.25]):
            run.emit(esper_telemetry.events.ScalarLogged, name="loss", value=value, step=step)

    path = record_run(fill)
    found = [row for row in rows(path, "scalars") if row["figure"] == "Series"]
    assert [(row["x"], row["value"]) for row in found] == [("0.0", "0.5"), ("1.0", "NaN"), ("2.0", "0.25")]
    assert [int(row["seq"]) for row in found] == [event.seq for event in read(path, types="scalar.logged")]


def test_every_panel_of_a_run_with_everything_can_be_downloaded(record_run):
    path = record_run()
    view = RunView(PANELS)
    view.feed(read(path))
    kinds = {row["figure"] for shown in view.figures() for row in rows(path, shown.panel.id)}
    assert {"Strip", "Table", "Series", "Lanes", "Feed"} <= kinds


def test_text_that_a_spreadsheet_would_run_is_text(record_run):
    def fill(run) -> None:
        seat = run.bind(env_id=0, device="cpu", inner_epoch=1, global_epoch=1)
        seat.emit(seed_pb2.SeedGerminated, slot_id="=cmd()", seed_id="@s", blueprint_id="+b", alpha=0.0)
        run.bind(batch_idx=1, episodes_completed=1).emit(
            training_pb2.ActionDistribution, action_counts={"=1+1": 2, "-x": 1}, head="op"
        )

    path = record_run(fill)
    for panel in ("seeds", "fates", "actions"):
        cells = [cell for row in rows(path, panel) for cell in row.values()]
        assert not [cell for cell in cells if cell.startswith(("=", "@", "+"))], panel
        assert not [cell for cell in cells if cell.startswith("-") and not cell[1:2].isdigit()], panel
