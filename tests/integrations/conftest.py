"""A browser for all tests of a file, a page process and a tab for each."""

from __future__ import annotations

import pytest

from tests.esper_telemetry.ui.pageprocess import PageProcess
from tests.integrations.chromium import Tab, chromium


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def open_page():
    pages = []

    def start(place, *options, port: int = 0) -> PageProcess:
        pages.append(PageProcess(place, *options, port=port))
        return pages[-1]

    yield start
    for page in pages:
        page.stop()


@pytest.fixture
def tab(browser):
    """A function that opens a tab; at the end of the test none of them may have complained."""
    contexts = []
    tabs = []

    def open_tab(**options) -> Tab:
        contexts.append(browser.new_context(viewport={"width": 1440, "height": 1000}, **options))
        tabs.append(Tab(contexts[-1].new_page()))
        return tabs[-1]

    yield open_tab
    for context in contexts:
        context.close()
    assert not [text for one in tabs for text in one.complaints]
