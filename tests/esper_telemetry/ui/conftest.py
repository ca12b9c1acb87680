"""A page over real records, in this process for questions and in one of its own for streams."""

from __future__ import annotations

import pytest

from tests.esper_telemetry.ui.pageprocess import PageProcess


@pytest.fixture
def open_page():
    """A function that starts `esper-telemetry ui` and ends it with the test."""
    pages = []

    def start(place, *options, port: int = 0) -> PageProcess:
        pages.append(PageProcess(place, *options, port=port))
        return pages[-1]

    yield start
    for page in pages:
        page.stop()
