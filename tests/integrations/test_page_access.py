"""The page for everyone: dark and light, by keyboard, without motion, and by the rules of axe-core."""

from __future__ import annotations

import pytest

from tests.integrations.chromium import address
from tests.integrations.pagerecords import record

pytest.importorskip("playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
pytestmark = pytest.mark.integrations


@pytest.fixture
def page(tmp_path, open_page):
    record(tmp_path / "runs", "first", tags={"kind": "demo"})
    record(tmp_path / "runs", "second")
    return open_page(tmp_path / "runs")


def serious(view) -> list[str]:
    """Return what axe-core finds that is serious or critical."""
    found = axe.Axe().run(view.page).response["violations"]
    return [
        f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes']][:3]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(scheme, page, tab):
    view = tab(color_scheme=scheme, bypass_csp=True).open(page.address, panels=False)
    assert serious(view) == []
    view.open(address(page))
    for panel in ("seeds", "ppo", "masks"):
        view.show(panel)
    assert serious(view) == []
    view.page.locator(".feed .feed-rows button").last.click()
    view.page.wait_for_selector("#drawer .detail")
    assert serious(view) == []
    runs = page.get("/api/runs").json()["runs"]
    view.open(f"{page.address}#/compare/{runs[0]['key']}/{runs[1]['key']}")
    view.page.wait_for_selector(".compare-facts table")
    view.show("ppo")
    assert serious(view) == []


def test_dark_and_light_differ_follow_the_system_and_can_be_switched(page, tab):
    grounds = {}
    for scheme in ("light", "dark"):
        view = tab(color_scheme=scheme).open(address(page))
        view.lines("policy loss")
        grounds[scheme] = view.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert grounds["light"] != grounds["dark"]
    view.page.keyboard.press("t")
    assert view.page.evaluate("() => getComputedStyle(document.body).backgroundColor") == grounds["light"]
    assert view.lines("policy loss"), "charts are drawn anew in the other colours"
    view.page.reload()
    view.page.wait_for_selector(".panel")
    assert view.page.evaluate("() => getComputedStyle(document.body).backgroundColor") == grounds["light"]


def test_everything_can_be_reached_by_keyboard(page, tab):
    view = tab().open(page.address, panels=False)
    view.page.keyboard.press("/")
    view.page.keyboard.type("second")
    view.until("() => document.querySelectorAll('.list tbody tr').length === 1")
    for _ in range(30):
        view.page.keyboard.press("Tab")
        if view.page.evaluate("() => document.activeElement.id.startsWith('open-')"):
            break
    view.page.keyboard.press("Enter")
    view.page.wait_for_selector("#panel-ppo")
    view.page.evaluate("() => document.activeElement.blur()")
    first = []
    for _ in range(3):
        view.page.keyboard.press("j")
        first.append(view.page.evaluate("() => document.activeElement.closest('.panel')?.id"))
    assert len(set(first)) == 3
    view.page.keyboard.press("k")
    assert view.page.evaluate("() => document.activeElement.closest('.panel')?.id") == first[1]
    view.page.keyboard.press("?")
    assert view.page.locator("#help").is_visible()
    view.page.keyboard.press("Escape")
    assert not view.page.locator("#help").is_visible()
    view.page.keyboard.press("/")
    assert view.page.evaluate("() => document.activeElement.id") == "feed-search"


def test_with_reduced_motion_nothing_moves_by_itself(page, tab):
    view = tab(reduced_motion="reduce").open(address(page))
    view.lines("policy loss")
    assert view.page.evaluate("() => document.getAnimations().length") == 0


def test_the_numbers_of_a_picture_can_be_read_as_a_table(page, tab):
    view = tab().open(address(page))
    view.lines("policy loss")
    view.page.get_by_label("show the numbers: policy loss").evaluate("(one) => one.click()")
    table = view.page.locator(".figure[data-title='policy loss'] .numbers table")
    assert table.locator("tbody tr").count() == 40
    plot = view.page.locator(".figure[data-title='policy loss'] .plot")
    assert "40 measurements" in plot.get_attribute("aria-label")
