"""Every state of a panel, in the report and on the page, in a real browser: what is missing is never a 0 or a line."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

import pytest

import esper_telemetry as et
from esper.v1 import trainer_pb2
from esper_telemetry.report import gather, report_page
from esper_telemetry.v1 import training_pb2
from tests.esper_telemetry.conftest import write_frames
from tests.esper_telemetry.tables.stranger import event_class
from tests.integrations.chromium import address
from tests.integrations.pagerecords import record, update

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

pytest.importorskip("playwright")
pytestmark = pytest.mark.integrations

NOT_YET, NOT_RECORDED, UNAVAILABLE = "not yet", "not recorded at this level", "unavailable"


class Shown(NamedTuple):
    """A value as a person sees it: its text, and the reason that a pointer or a screen reader gets."""

    text: str
    reason: str


class Drawn:
    """A run as one of the two views draws it.

    Args:
        page: the browser's page.
        name: "report" or "page".
    """

    def __init__(self, page: Page, name: str) -> None:
        self.page, self.name = page, name
        self._root = "#r1-" if name == "report" else "#panel-"

    def _reach(self, panel: str) -> None:
        """Wait until the panel is there and drawn; a page draws what is in view."""
        if self.name == "page":
            self._tab.show(panel)

    def text(self, panel: str) -> str:
        self._reach(panel)
        return self.page.locator(f"{self._root}{panel}").inner_text()

    def items(self, panel: str) -> list[dict[str, Shown]]:
        """Return the labelled values of each strip or tile."""
        self._reach(panel)
        lists = self.page.evaluate(
            """(root) => [...document.querySelectorAll(`${root} dl`)].map((list) =>
              [...list.querySelectorAll("dt")].map((dt) => {
                const dd = dt.nextElementSibling;
                const told = dd.matches("[title]") ? dd : dd.querySelector("[title]");
                return [dt.textContent, (dd.querySelector("bdi") ?? dd).textContent.trim(), told?.title ?? ""];
              }))""",
            f"{self._root}{panel}",
        )
        return [{label: Shown(text.lstrip("●▲■ "), reason) for label, text, reason in one} for one in lists]

    def rows(self, panel: str) -> list[list[str]]:
        """Return the rows of the tables of a panel."""
        self._reach(panel)
        return self.page.evaluate(
            """(root) => [...document.querySelectorAll(`${root} tbody tr`)].map((row) =>
              [...row.querySelectorAll("td")].map((one) => (one.querySelector("bdi") ?? one).textContent.trim()))""",
            f"{self._root}{panel}",
        )

    def strokes(self, panel: str, title: str) -> list[list[int]]:
        """Return, for each line of a chart, how many points each unbroken stroke of it joins."""
        if self.name == "report":
            figure = self.page.locator(f"{self._root}{panel} figure").filter(
                has=self.page.locator(f"figcaption .title:text('{title}')")
            )
            paths = figure.first.locator("path.line").evaluate_all("(all) => all.map((one) => one.getAttribute('d'))")
            return [[len(re.findall(r"-?[\d.]+[ ,]-?[\d.]+", part)) for part in path.split("M")[1:]] for path in paths]
        found = []
        for line in self._tab.lines(title):
            strokes = [0]
            for x, y in line["raw"]:
                if "NaN" in (x, y):
                    strokes.append(0)
                else:
                    strokes[-1] += 1
            found.append([length for length in strokes if length])
        return found

    def gaps(self, title: str) -> int:
        """Return how many hatched gaps the page or the report draws in a chart."""
        if self.name == "page":
            self._tab.lines(title)
            return self.page.evaluate("(title) => probe.gaps(title)", title)
        return self.page.locator("figure", has_text=title).first.locator("rect.gap").count()

    _tab = None


@pytest.fixture(params=["report", "page"])
def draw(request, open_page, tab, tmp_path) -> Callable[[Path], Drawn]:
    """A function that shows a record in one of the views."""

    def show(path: Path) -> Drawn:
        opened = tab()
        if request.param == "report":
            file = tmp_path / "report.html"
            file.write_text(report_page(gather([path])).html, encoding="utf-8")
            opened.page.goto(file.as_uri())
        else:
            opened.open(address(open_page(path)))
            opened.until("() => ['ended', 'gone', 'stale'].includes(probe.life())")
            opened.until("() => probe.settled()")
        drawn = Drawn(opened.page, request.param)
        drawn._tab = opened
        return drawn

    return show


def epochs(environments: int, values) -> list:
    """Return epochs of so many environments: `values(env, epoch)` are the fields of each."""
    return [
        (
            training_pb2.EpochCompleted(**values(env, epoch)),
            {"env_id": env, "inner_epoch": epoch, "global_epoch": 1, "episode": env},
        )
        for epoch in (1, 2, 3)
        for env in range(environments)
    ]


@pytest.mark.parametrize("environments", [1, 64])
def test_measured_not_yet_and_unavailable_are_told_apart(draw, tmp_path, environments):
    frame = epochs(
        environments, lambda env, epoch: {"val_loss": 1.0 + env, **({"val_accuracy": 0.0} if epoch < 3 else {})}
    )
    drawn = draw(write_frames(tmp_path / "states.esr.zst", [frame]))
    tiles = [tile for tile in drawn.items("environments") if "return" in tile]
    assert len(tiles) == environments
    for env, tile in enumerate(tiles):
        assert tile["loss"].text == str(1 + env)
        assert tile["best"].text == "0 %", "a measured 0 is a 0"
        assert tile["accuracy"].text == "—"
        assert tile["accuracy"].reason.startswith(UNAVAILABLE), "the last epoch left it unset"
        assert tile["return"].text == "—"
        assert tile["return"].reason.startswith(NOT_YET)


@pytest.mark.parametrize("environments", [1, 64])
def test_a_loss_that_is_nan_is_a_measurement_and_breaks_the_line(draw, tmp_path, environments):
    frame = epochs(environments, lambda _, epoch: {"val_loss": math.nan if epoch == 2 else 1.0})
    last = [
        (training_pb2.EpochCompleted(val_loss=math.nan), {**where, "inner_epoch": 4})
        for _, where in frame[-environments:]
    ]
    drawn = draw(write_frames(tmp_path / "nan.esr.zst", [frame, last]))
    tiles = [tile for tile in drawn.items("environments") if "loss" in tile]
    assert [tile["loss"].text for tile in tiles] == ["NaN"] * environments
    assert all(length < 2 for line in drawn.strokes("learning", "validation loss") for length in line)


def test_what_the_level_leaves_out_is_named_with_the_level_it_needs(draw, tmp_path):
    drawn = draw(record(tmp_path / "runs", "quiet", lambda run: update(run, 1), level="lifecycle"))
    why = dict(row for row in drawn.rows("health") if len(row) == 2)
    assert why["Policy updates"] == "not recorded at level lifecycle: its events need level normal"
    assert why["Seeds"].startswith("no event of seed.germinated")
    assert "0" not in why["Policy updates"]


def test_a_counterfactual_that_could_not_be_measured_keeps_its_reason(draw, tmp_path):
    where = {"env_id": 0, "inner_epoch": 1, "global_epoch": 1}
    missing = trainer_pb2.CounterfactualComputed(slot_id="mid", available=False, reason="UNAVAILABLE_REASON_NO_SEED")
    drawn = draw(write_frames(tmp_path / "missing.esr.zst", [[(missing, where)]]))
    assert drawn.rows("contributions") == [["mid", "0", "—", "—", "—", "1"]]
    assert "no seed" in drawn.text("contributions")


def test_lost_events_are_counted_hatched_and_not_bridged(draw, tmp_path):
    def frame(first: int) -> list:
        return [
            (training_pb2.PpoUpdateCompleted(entropy=1.0), {"batch_idx": at, "episodes_completed": at})
            for at in range(first, first + 3)
        ]

    drawn = draw(write_frames(tmp_path / "lossy.esr.zst", [frame(1), frame(20)], shed=7))
    (strip,) = drawn.items("truth")
    assert strip["lost"].text == "14"
    assert "without a cause" in strip["lost"].reason
    assert drawn.strokes("ppo", "entropy") == [[3, 3]]
    assert drawn.gaps("entropy") >= 1


def test_a_type_that_the_panels_do_not_know_is_drawn_by_its_own_schema(draw, tmp_path):
    strange = event_class("stranger.v1", "stranger.happened", warmth="double", note="string")

    def work(run) -> None:
        for at in range(3):
            run.emit(strange, **({} if at == 1 else {"warmth": 21.5 + at}), note="hello")

    drawn = draw(record(tmp_path / "runs", "strange", work, schemas=[strange]))
    assert "warmth" in drawn.text("custom")
    assert drawn.strokes("custom", "stranger.happened: warmth") == [[1, 1]], "the event between carried no value"
    assert any(row[0] == "stranger.happened" for row in drawn.rows("health"))


def test_a_cut_record_tells_that_its_end_is_missing(draw, tmp_path):
    frames = [[(training_pb2.ScalarLogged(name="loss", value=float(at), step=at), {})] for at in range(40)]
    path = write_frames(tmp_path / "cut.esr.zst", frames, close=False)
    path.write_bytes(path.read_bytes()[:-40])
    drawn = draw(path)
    (strip,) = drawn.items("truth")
    assert strip["state"].text == "no end recorded" or drawn.name == "page"
    assert not strip["state"].text.startswith("ended")
    assert strip["reader"].text != "no faults"
    assert int(strip["events"].text) < 40


def test_two_attempts_are_two_lines(draw, tmp_path):
    for attempt in (1, 2):
        attempted = {"run_id": "exp"} if attempt == 1 else {"resume": "exp", "resumed_from": {"step": 2}}
        with et.start_run(tmp_path / "runs", name="again", **attempted) as run:
            for step in range(attempt, attempt + 3):
                run.emit(et.events.ScalarLogged, name="loss", value=float(step), step=step)
    drawn = draw(tmp_path / "runs" / "exp")
    assert drawn.strokes("scalars", "loss") == [[3], [3]], "no line leads from one attempt into the other"
    assert "attempt 2" in drawn.text("scalars")


def test_eight_ranks_are_eight_lines_and_a_silent_one_is_no_zero(draw, tmp_path):
    for rank in range(8):
        with et.start_run(tmp_path / "runs", name="wide", run_id="wide", rank=rank) as run:
            for step in range(1, 4) if rank != 5 else ():
                run.emit(et.events.ScalarLogged, name="loss", value=float(rank), step=step)
    drawn = draw(tmp_path / "runs" / "wide")
    assert drawn.strokes("scalars", "loss") == [[3]] * 7
    text = drawn.text("scalars")
    assert "rank 7" in text
    assert "rank 5" not in text
    assert len([row for row in drawn.rows("health") if row[0] == "main"]) == 8
