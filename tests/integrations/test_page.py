"""The page in a real browser: what is drawn equals the folds and the record, however it is looked at."""

from __future__ import annotations

import json
import math

import pytest

import esper_telemetry as et
from esper_telemetry.decode import read
from esper_telemetry.ui.runfold import panel_document
from esper_telemetry.views import Look, RunView
from esper_telemetry.views.panels import PANELS
from tests.integrations.chromium import address
from tests.integrations.pagerecords import record, update

pytest.importorskip("playwright")
pytestmark = pytest.mark.integrations


def folded(path) -> dict:
    """Return the panels of a record, folded here."""
    view = RunView(PANELS)
    view.feed(read(path))
    documents = [panel_document(shown) for shown in view.figures(Look(view.facts, points=400))]
    return {one["id"]: one for one in json.loads(json.dumps(documents))}


def test_each_line_that_is_drawn_equals_its_fold_and_the_record(tmp_path, open_page, tab):
    path = record(tmp_path / "runs")
    view = tab().open(address(open_page(path)))
    checked = 0
    for panel in folded(path).values():
        for figure in panel["figures"]:
            if figure["figure"] != "Series":
                continue
            drawn = view.lines(figure["title"])
            for line, found in zip(figure["lines"], drawn, strict=True):
                factor = 1000 if figure["x"]["times"] else 1
                wanted = [[x * factor, y] for x, y, _, _ in line["points"]]
                assert [point for point in found["raw"] if point[0] != "NaN"] == wanted, figure["title"]
                assert found["odd"] == [x * factor for x, y, *_ in line["points"] if isinstance(y, str)]
                checked += len(wanted)
    assert checked > 200
    updates = {event.data["batch_idx"]: event.data for event in read(path, types="ppo.update_completed")}
    (losses,) = view.lines("value loss")
    measured = {x: y for x, y in losses["raw"] if x != "NaN"}
    assert measured == {
        batch: "NaN" if math.isnan(data["value_loss"]) else data["value_loss"] for batch, data in updates.items()
    }


def test_each_cell_that_is_drawn_equals_its_fold(tmp_path, open_page, tab):
    path = record(tmp_path / "runs")
    view = tab().open(address(open_page(path)))
    checked = 0
    for panel in folded(path).values():
        for figure in panel["figures"] if panel["id"] not in ("truth", "verdict", "feed") else ():
            cells = {
                "Strip": lambda one: [cell for _, cell in one["items"]],
                "Table": lambda one: [cell for row in one["rows"] for cell in row],
                "Grid": lambda one: [
                    cell for tile in one["tiles"] for cell in [tile["state"], *(c for _, c in tile["items"])]
                ],
            }.get(figure["figure"])
            if cells is None:
                continue
            view.show(panel["id"])
            drawn = view.cells(panel["id"], figure["title"])
            assert [state for state, _ in drawn] == [cell["state"] for cell in cells(figure)]
            for (_, value), cell in zip(drawn, cells(figure), strict=True):
                if cell["value"] is None:
                    assert value == "", "what was not measured is drawn as a value"
                elif isinstance(cell["value"], float):
                    assert float(value) == cell["value"]
                checked += 1
    assert checked > 20


A_FIGURE_BEFORE_ANOTHER = """async () => {
    const [{ PanelView }, { Sync }, { apply }] = await Promise.all(
        ["panelview", "sync", "model"].map((name) => import(`/static/${name}.js`)));
    const table = (title) => ({ figure: "Table", title, columns: [], rows: [], explanation: "" });
    const panel = { title: "A panel", hint: "", absence: "", figures: [table("last")], footer: { events: 0 } };
    const view = new PanelView("inserted", ["run"], new Sync(), () => {});
    view.take(panel);
    view.take(apply(panel, [
        [["figures", 0, "title"], "first"],
        [["figures"], 1, [table("last")]],
    ]));
    return [...view.figures.children].map((one) => one.dataset.title);
}"""


def test_a_figure_that_comes_before_one_that_was_there_has_its_own_heading(tmp_path, open_page, tab):
    view = tab().open(address(open_page(record(tmp_path / "runs"))))
    assert view.page.evaluate(A_FIGURE_BEFORE_ANOTHER) == ["first", "last"]


def test_lanes_and_heat_are_drawn_from_their_folds(tmp_path, open_page, tab):
    path = record(tmp_path / "runs")
    view = tab().open(address(open_page(path)))
    view.show("seeds")
    (lanes,) = [one for one in folded(path)["seeds"]["figures"] if one["figure"] == "Lanes"]
    bars = view.page.evaluate("() => probe.bars()")
    assert bars == [[seq, kind] for lane in lanes["lanes"] for _, _, kind, _, _, seq in lane["intervals"]]
    marks = view.page.locator("#panel-seeds [data-seq]:is(.mark, .stroke)").count()
    assert marks == sum(len(lane["marks"]) for lane in lanes["lanes"])
    view.show("masks")
    canvas = view.page.locator("#panel-masks canvas").first
    box = canvas.bounding_box()
    row, column = 1, 12  # the option "go" in batch 13: masked 3 times of 10
    cell = (box["width"] - 150 - 12) / 40
    canvas.hover(position={"x": 150 + (column + 0.5) * cell, "y": 4 + row * 16 + 8})
    text = view.page.locator("#panel-masks .figure.heat .readout").first.inner_text()
    assert "go at batch 13" in text
    assert "3 of 10" in text


def test_a_new_event_is_drawn_while_the_run_goes_on_and_nothing_jumps(tmp_path, open_page, tab):
    with et.start_run(tmp_path / "runs", name="live") as run:
        for batch in range(1, 5):
            update(run, batch)
        run.flush()
        view = tab().open(address(open_page(run.folder)))
        assert [y for _, y in view.lines("policy loss")[0]["raw"]] == [-0.1 / batch for batch in range(1, 5)]
        heights = "() => probe.heights()"
        before = view.page.evaluate(heights)
        for batch in range(5, 9):
            update(run, batch)
        run.flush()
        view.until("() => probe.life() === 'live'")
        view.until("() => probe.has('policy loss', 8)")
        assert [x for x, _ in view.lines("policy loss")[0]["raw"]] == list(range(1, 9))
        assert view.page.evaluate(heights) == before
    view.until("() => probe.life() === 'ended'")


def test_the_feed_is_filtered_by_type_and_by_text_and_an_event_opens_with_units_and_meaning(tmp_path, open_page, tab):
    page = open_page(record(tmp_path / "runs"))
    view = tab().open(address(page))
    rows = view.page.locator(".feed .feed-rows > li")
    view.page.select_option(".feed select", "seed.culled")
    view.until("() => probe.rows().every((type) => type === 'seed.culled')")
    view.until("() => probe.rows().length === 4")
    view.page.select_option(".feed select", "")
    view.page.fill("#feed-search", "s11")
    view.until("() => probe.rows().length === 2")
    rows.first.locator("button").click()
    detail = view.page.locator("#drawer .detail")
    assert "seed.germinated" in detail.inner_text()
    view.page.keyboard.press("Escape")
    view.page.fill("#feed-search", "")
    view.page.select_option(".feed select", "ppo.update_completed")
    view.until("() => probe.rows().length === 40")
    rows.last.locator("button").click()
    view.until("() => document.querySelector('#drawer .detail h3')?.textContent === 'ppo.update_completed'")
    entropy = view.page.locator("#drawer tr", has_text="entropy").first.inner_text()
    assert "nat" in entropy
    assert "Mean entropy" in entropy


def test_a_click_on_a_point_opens_the_event_behind_it(tmp_path, open_page, tab):
    path = record(tmp_path / "runs")
    view = tab().open(address(open_page(path)))
    view.lines("policy loss")
    x, y = view.page.evaluate("() => probe.pixel('policy loss', 20, -0.005)")
    view.page.locator("#panel-ppo .figure[data-title='policy loss'] .plot").click(position={"x": x, "y": y})
    view.until("() => document.querySelector('#drawer .detail') !== null")
    (event,) = [one for one in read(path, types="ppo.update_completed") if one.data["batch_idx"] == 20]
    assert view.page.locator("#drawer .detail").get_attribute("data-seq") == str(event.seq)


def test_a_zoomed_part_has_every_single_point_and_the_other_figures_follow(tmp_path, open_page, tab):
    def many(run) -> None:
        for step in range(6000):
            run.emit(et.events.ScalarLogged, name="loss", value=float(step % 11), step=step)
            run.emit(et.events.ScalarLogged, name="gain", value=float(step % 7), step=step)

    view = tab().open(address(open_page(record(tmp_path / "runs", "many", many))))
    assert len(view.lines("loss")[0]["raw"]) < 1000
    view.page.evaluate("() => probe.view('loss').sync.zoom('step|false', [2000, 2100])")
    for title, modulo in (("loss", 11), ("gain", 7)):
        view.lines(title)
        view.until("(title) => probe.between(title, 2000, 2100) === 101", title)
        drawn = {x: y for x, y in view.lines(title)[0]["raw"] if x != "NaN" and 2000 <= x <= 2100}
        assert drawn == {step: float(step % modulo) for step in range(2000, 2101)}
    view.page.get_by_role("button", name="reset zoom").click()
    view.until("() => probe.view('loss').chart.figure.x_range.end > 5000")


def test_smoothing_adds_a_line_and_never_hides_the_raw_one(tmp_path, open_page, tab):
    view = tab().open(address(open_page(record(tmp_path / "runs"))))
    before = view.lines("policy loss")[0]
    assert before["smooth"] == 0
    view.page.locator("#smoothing").evaluate("(one) => { one.value = 0.9; one.dispatchEvent(new Event('input')); }")
    after = view.lines("policy loss")[0]
    assert (after["raw"], after["smooth"] > 0) == (before["raw"], True)
    view.page.locator("#smoothing").evaluate("(one) => { one.value = 0; one.dispatchEvent(new Event('input')); }")
    assert view.lines("policy loss")[0] == before


def test_a_replay_starts_from_nothing_and_comes_to_the_same_end(tmp_path, open_page, tab):
    view = tab().open(address(open_page(record(tmp_path / "runs"))))
    wanted = view.lines("policy loss")
    view.page.get_by_role("button", name="replay").click()
    view.page.get_by_role("button", name="to the end").click()
    view.until("() => probe.life() === 'ended'")
    assert view.lines("policy loss") == wanted


def test_two_runs_are_chosen_and_laid_over_each_other_with_what_differs(tmp_path, open_page, tab):
    first = record(tmp_path / "runs", "treatment", config={"lr": 0.1, "same": 1})
    record(
        tmp_path / "runs",
        "control",
        lambda run: [update(run, batch, policy_loss=1.0) for batch in (1, 2)],
        config={"lr": 0.2, "same": 1},
    )
    view = tab().open(open_page(tmp_path / "runs").address, panels=False)
    for name in ("treatment", "control"):
        view.page.get_by_label(f"compare {name}").check()
    view.page.get_by_role("link", name="Compare 2 runs").click()
    view.page.wait_for_selector("#panel-ppo")
    facts = view.page.locator(".compare-facts").inner_text()
    assert "lr" in facts
    assert "same" not in facts
    assert "control (control)" in facts
    lines = view.lines("policy loss")
    assert [len(line["raw"]) for line in lines] == [40, 2]
    (losses,) = [figure for figure in folded(first)["ppo"]["figures"] if figure["title"] == "policy loss"]
    assert [y for _, y in lines[0]["raw"]] == [y for _, y, *_ in losses["lines"][0]["points"]]


def test_a_page_whose_server_was_started_again_goes_on(tmp_path, open_page, tab):
    with et.start_run(tmp_path / "runs", name="live") as run:
        update(run, 1)
        run.flush()
        page = open_page(tmp_path / "runs")
        view = tab().open(address(page))
        view.lines("policy loss")
        page.kill()
        view.until("() => document.body.dataset.connection === 'lost'")
        assert "no connection" in view.page.locator(".life").inner_text()
        update(run, 2)
        run.flush()
        open_page(tmp_path / "runs", port=page.port)
        view.until("() => document.body.dataset.connection === 'open'")
        view.until("() => !document.querySelector('.problems').textContent")
        assert [x for x, _ in view.lines("policy loss")[0]["raw"]] == [1, 2]
    view.complaints[:] = [
        text
        for text in view.complaints
        if "ERR_CONNECTION" not in text and "ERR_INCOMPLETE" not in text and "Failed to load resource" not in text
    ]


def test_the_data_and_the_picture_of_a_figure_are_saved(tmp_path, open_page, tab):
    view = tab(accept_downloads=True).open(address(open_page(record(tmp_path / "runs"))))
    view.lines("policy loss")
    view.page.locator("#panel-ppo").hover()
    for label, start in (
        ("save as SVG: policy loss", b"<svg"),
        ("save as PNG: policy loss", b"\x89PNG"),
        ("download ppo as CSV", b"panel,figure"),
        ("save as SVG: Seeds by slot", b"<svg"),
        ("save as PNG: Masked", b"\x89PNG"),
    ):
        with view.page.expect_download() as saved:
            view.page.get_by_label(label, exact=True).first.evaluate("(one) => one.click()")
        assert start in saved.value.path().read_bytes()[:200], label
