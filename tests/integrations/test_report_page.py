"""The report in a real browser: it loads nothing, complains of nothing, and answers mouse and keyboard."""

from __future__ import annotations

import pytest

from esper_telemetry import events, read
from esper_telemetry.report import gather, report_page
from tests.integrations.pagerecords import HOSTILE

pytest.importorskip("playwright")
pytestmark = pytest.mark.integrations


@pytest.fixture
def opened(tmp_path, browser):
    """A function that opens the report of some runs; at the end no request was made and nothing complained."""
    import esper_telemetry as et

    complaints = []

    def show(*names, **options):
        folders = []
        for name in names:
            with et.start_run(tmp_path / name, name=name, config={"policy": name}) as run:
                for batch in range(1, 30):
                    run.bind(batch_idx=batch).emit(events.PpoUpdateCompleted, entropy=1 / batch, lr=0.1)
                run.emit(events.ScalarLogged, name=HOSTILE, value=1.0, step=1)
            folders.append(run.folder)
        path = tmp_path / "report.html"
        path.write_text(report_page(gather(folders)).html)
        page = browser.new_context(viewport={"width": 1400, "height": 1000}, **options).new_page()
        page.on("console", lambda one: complaints.append(one.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda one: None if one.url.startswith("file:") else complaints.append(one.url))
        page.goto(path.as_uri())
        return page, folders

    yield show
    assert complaints == []


def entropy(page):
    return page.locator("#r1-ppo figure", has_text="entropy").first.locator("svg.chart")


def test_a_point_tells_its_value_and_opens_its_event(opened):
    page, (folder,) = opened("one")
    event = next(one for one in read(folder) if one.type == "ppo.update_completed")
    chart = entropy(page)
    chart.focus()
    page.keyboard.press("Home")
    assert page.locator("#tip").inner_text().splitlines() == ["batch 1", f"1 nat #{event.seq}"]
    page.keyboard.press("ArrowRight")
    assert "0.5 nat" in page.locator("#tip").inner_text()
    assert page.locator("#r1-ppo svg.chart.on").count() == 2  # the cursor of both charts
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    told = page.locator("#event").inner_text()
    assert f"ppo.update_completed #{event.seq}" in told
    assert "Mean entropy of the joint policy." in told
    page.keyboard.press("Escape")
    assert not page.evaluate("document.getElementById('event').open")


def test_an_event_of_one_run_is_not_that_of_another(opened):
    page, _ = opened("ppo", "wait")
    assert page.locator(".run").count() == 2
    page.locator("#r2 #r2-ppo svg.chart").first.focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert page.locator("#event h2").count() == 1
    assert page.evaluate("new Set([...document.querySelectorAll('[id]')].map((one) => one.id)).size") == page.evaluate(
        "document.querySelectorAll('[id]').length"
    )


def test_the_feed_is_filtered_and_a_table_sorted(opened):
    page, _ = opened("one")
    page.keyboard.press("/")
    page.keyboard.type("scalar.logged")
    page.wait_for_function("() => document.querySelector('output').textContent.startsWith('1 of the')")
    assert page.locator("table.feed tbody tr:not(.hidden)").count() == 1
    head = page.locator("#r1-health th", has_text="events").first
    head.locator("button").click()
    counts = [
        int(text.replace(",", ""))
        for text in page.locator("#r1-health table").first.locator("td:nth-child(2)").all_inner_texts()
    ]
    assert counts == sorted(counts, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("names", [("one",), ("ppo", "wait")], ids=["one", "two"])
def test_axe_finds_nothing(opened, scheme, names):
    from axe_playwright_python.sync_playwright import Axe

    page, _ = opened(*names, color_scheme=scheme, bypass_csp=True)  # axe itself is a script of its own
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


def test_it_is_complete_without_its_script(opened):
    page, _ = opened("one", java_script_enabled=False)
    assert entropy(page).locator("path.line").get_attribute("d").startswith("M")
    assert HOSTILE.split("\x1b")[0][:12] in page.locator("#r1-scalars").inner_text()
