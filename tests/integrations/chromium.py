"""A page in a real Chromium: opened, waited for, and asked what it has drawn."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.esper_telemetry.ui.pageprocess import PageProcess

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE_MS = 180_000

PROBE = Path(__file__).with_name("probe.js")


class Tab:
    """A tab of the browser, with what it complained about.

    Attributes:
        page: playwright's page.
        complaints: errors of the console and of scripts.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.add_init_script(path=PROBE)
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda one: self.complaints.append(one.text) if one.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, address: str, *, panels: bool = True) -> Tab:
        self.page.goto(address)
        self.page.wait_for_selector(".panel" if panels else ".list tbody tr")
        return self

    def until(self, script: str, argument: Any = None) -> None:
        """Wait until a function of the page is true; a string would need eval, which the page forbids."""
        self.page.wait_for_function(script, arg=argument)

    def show(self, panel: str) -> None:
        """Bring a panel into view and wait until its figures are drawn."""
        self.page.wait_for_selector(f"#panel-{panel}")
        self.page.evaluate("(id) => document.getElementById(`panel-${id}`).scrollIntoView()", panel)
        self.until("(id) => probe.seen(id)", panel)
        self.until("() => probe.settled()")

    def cells(self, panel: str, title: str) -> list[list[str]]:
        """Return state and value of each cell of a figure that is in view.

        A panel's figures come one after another: that its first is drawn does not say that this one is there.
        """
        self.until("([panel, title]) => probe.cells(panel, title) !== undefined", [panel, title])
        self.until("() => probe.settled()")
        return self.page.evaluate("([panel, title]) => probe.cells(panel, title)", [panel, title])

    def lines(self, title: str) -> list[dict[str, Any]]:
        """Return what a chart of lines has drawn: of each line its raw points with breaks, and what was no number."""
        self.until("(title) => probe.figure(title) !== undefined", title)
        self.page.evaluate("(title) => probe.scroll(title)", title)
        self.until("(title) => probe.drawn(title) !== undefined", title)
        self.until("() => probe.settled()")
        return self.page.evaluate("(title) => probe.drawn(title)", title)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser; skip the test where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH; .ci/run installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without its sandbox it starts as root too; it opens nothing but our own page.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def address(page: PageProcess, key: str = "") -> str:
    """Return the address of a run; of the only one without a key."""
    key = key or page.get("/api/runs").json()["runs"][0]["key"]
    return f"{page.address}#/run/{key}"
