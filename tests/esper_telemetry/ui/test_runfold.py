"""An open run: what viewers get equals the folds over the record, and what ends a thread is shown and survived."""

from __future__ import annotations

import json
import time

import pytest

import esper_telemetry
from esper_telemetry.decode import read
from esper_telemetry.errors import RecordError
from esper_telemetry.ui.changes import apply
from esper_telemetry.ui.origin_files import FileOrigin
from esper_telemetry.ui.runfold import RunFold, panel_document
from esper_telemetry.views import Look, RunView, Window
from esper_telemetry.views.panels import PANELS

# What depends on the time at which it is looked, and on what a reader of files finds.
OF_THE_MOMENT = {"truth", "verdict"}


class Viewer:
    """What a browser does with the messages."""

    def __init__(self, fold: RunFold) -> None:
        self._fold = fold
        self._cursor = None
        self.panels, self.state, self.names = {}, {}, []

    def read(self) -> None:
        for message in self._fold.ring.after(self._cursor):
            body = json.loads(message.body)
            self.names.append(message.name)
            self._cursor = message.cursor
            if message.name == "snapshot":
                self.panels = body["panels"]
            else:
                for panel, operations in body["panels"]:
                    self.panels[panel] = apply(self.panels.get(panel), operations)
            self.state = body["state"]

    def wait(self, condition) -> None:
        deadline = time.monotonic() + 60
        while True:
            self.read()
            if self.state and condition(self):
                return
            assert time.monotonic() < deadline, self.state
            time.sleep(0.02)


@pytest.fixture
def open_fold():
    folds = []

    def start(origin, **options) -> RunFold:
        folds.append(RunFold(origin, PANELS, **options))
        folds[-1].start()
        return folds[-1]

    yield start
    for fold in folds:
        fold.stop()


def folded(path) -> dict:
    view = RunView(PANELS)
    view.feed(read(path))
    documents = [panel_document(shown) for shown in view.figures(Look(view.facts, points=400))]
    return json.loads(json.dumps({one["id"]: one for one in documents if one["id"] not in OF_THE_MOMENT}))


def lasting(panels) -> dict:
    return {name: panel for name, panel in panels.items() if name not in OF_THE_MOMENT}


def test_what_a_viewer_gets_step_by_step_equals_the_folds_over_the_whole_record(tmp_path, open_fold):
    # Compaction would change the bytes that the types take, and a viewer who was there shows those of the old file.
    options = esper_telemetry.RecordOptions(compact=False)
    with esper_telemetry.start_run(tmp_path / "runs", name="live", record=options) as run:
        fold = open_fold(FileOrigin(run.folder))
        viewer = Viewer(fold)
        for step in range(60):
            run.emit(esper_telemetry.events.ScalarLogged, name="loss", value=1 / (1 + step), step=step)
            run.bind(batch_idx=step, episodes_completed=step).emit(
                esper_telemetry.events.PpoUpdateCompleted, policy_loss=-0.1 * step, skipped=False
            )
            time.sleep(0.03)
            viewer.read()
    viewer.wait(lambda one: one.state["life"] == "ended")
    assert viewer.names.count("changes") > 2
    assert lasting(viewer.panels) == folded(run.folder)


def test_a_viewer_that_comes_late_gets_the_same_as_one_from_the_start(record_run, open_fold):
    folder = record_run()
    early = Viewer(open_fold(FileOrigin(folder)))
    early.wait(lambda one: one.state["phase"] == "ended")
    late = Viewer(open_fold(FileOrigin(folder)))
    late.wait(lambda one: one.state["phase"] == "ended")
    assert lasting(early.panels) == lasting(late.panels) == folded(folder)
    assert late.state["folded"] == sum(1 for _ in read(folder))


def test_an_origin_that_fails_is_shown_tried_again_and_read_anew(record_run, open_fold):
    class Failing(FileOrigin):
        tries = 0

        def portions(self, stop):
            self.tries += 1
            if self.tries == 1:
                yield from zip_first(super().portions(stop))
                raise RecordError("the disk is gone")
            self._reached.clear()
            yield from super().portions(stop)

    def zip_first(portions):
        yield next(portions)

    folder = record_run()
    viewer = Viewer(open_fold(Failing(folder)))
    viewer.wait(lambda one: "the disk is gone" in one.state["failure"])
    viewer.wait(lambda one: not one.state["failure"] and one.state["phase"] == "ended")
    assert lasting(viewer.panels) == folded(folder)


def test_a_bug_in_an_origin_is_shown_and_not_a_frozen_page(record_run, open_fold):
    class Buggy(FileOrigin):
        def portions(self, stop):
            raise ZeroDivisionError("a bug")

    viewer = Viewer(open_fold(Buggy(record_run())))
    viewer.wait(lambda one: "ZeroDivisionError: a bug" in one.state["failure"])


def test_a_part_of_the_axis_is_given_with_every_single_point(tmp_path, open_fold):
    with esper_telemetry.start_run(tmp_path / "runs", name="many") as run:
        for step in range(5000):
            run.emit(esper_telemetry.events.ScalarLogged, name="loss", value=float(step % 7), step=step)
    fold = open_fold(FileOrigin(run.folder))
    Viewer(fold).wait(lambda one: one.state["phase"] == "ended")

    def line(window: Window | None, points: int = 400) -> dict:
        figures = fold.panel("scalars", window, points)["figures"]
        (found,) = [figure["lines"][0] for figure in figures if figure["figure"] == "Series"]
        return found

    assert line(None)["each"] > 1
    zoomed = line(Window(1000, 1100), 1000)
    assert zoomed["each"] == 1
    inside = [point for point in zoomed["points"] if 1000 <= point[0] <= 1100]
    assert [(x, y) for x, y, _, _ in inside] == [(float(step), float(step % 7)) for step in range(1000, 1101)]


def test_a_panel_that_is_not_there_is_told(record_run, open_fold):
    fold = open_fold(FileOrigin(record_run()))
    with pytest.raises(KeyError, match="no panel 'nothing'"):
        fold.panel("nothing")


def test_both_threads_end_when_the_run_is_closed(record_run, open_fold):
    fold = open_fold(FileOrigin(record_run()))
    Viewer(fold).wait(lambda one: one.state["phase"] == "ended")
    fold.stop()
    assert not any(thread.is_alive() for thread in fold.threads)
