"""Streams to browsers: several runs in one, cursors over reconnects and restarts, and an end with the server."""

from __future__ import annotations

import pytest

from esper_telemetry.ui.changestream import Channel
from tests.esper_telemetry.ui.pageprocess import ChangeReader, events, lines_of

ENDED = "ended"


@pytest.fixture
def page(record_run, open_page, tmp_path):
    record_run(name="first")
    record_run(name="second")
    return open_page(tmp_path / "runs")


def keys(page) -> list[str]:
    return [run["key"] for run in page.get("/api/runs").json()["runs"]]


def ended(reader) -> bool:
    return reader.state["phase"] == ENDED and "ppo" in reader.panels


def test_a_browser_that_comes_back_with_its_cursor_gets_no_snapshot(page):
    reader = ChangeReader().read(page.address.rstrip("/"), keys(page)[0], ended)
    before = len(reader.names)
    reader.read(page.address.rstrip("/"), keys(page)[0], lambda one: len(one.names) > before)
    assert "snapshot" not in reader.names[before:]


def test_a_server_that_was_started_again_gives_a_snapshot_for_an_old_cursor(page, open_page, tmp_path):
    reader = ChangeReader().read(page.address.rstrip("/"), keys(page)[0], ended)
    port, old = page.port, dict(reader.panels)
    page.kill()
    again = open_page(tmp_path / "runs", port=port)
    reader.names.clear()
    reader.read(again.address.rstrip("/"), keys(again)[0], ended)
    assert reader.names[0] == "snapshot"
    assert reader.panels["ppo"] == old["ppo"]


def test_several_runs_share_one_stream(page):
    import httpx

    seen = set()
    with httpx.stream("GET", f"{page.address}api/stream", params={"run": keys(page)}, timeout=30) as answer:
        for name, cursor, data in events(lines_of(answer)):
            seen.add((name, data[:60].split('"')[3]))
            assert not cursor or cursor.count(",") == 1
            if {key for name, key in seen} == set(keys(page)):
                break


def test_a_stream_ends_when_the_server_is_told_to_stop(page):
    import httpx

    names = []
    with httpx.stream("GET", f"{page.address}api/stream", params={"run": keys(page)[0]}, timeout=60) as answer:
        for name, _, _ in events(lines_of(answer)):
            if not names:
                page.tell()
            names.append(name)
    assert names[-1] == "bye"
    assert page.stop() == 0


def test_cursors_of_another_number_of_runs_are_worth_nothing():
    assert [channel.cursor for channel in Channel.several(["a", "b"], [None, None], "ab:1")] == [None, None]
    first, second = Channel.several(["a", "b"], [None, None], "ab:1,-")
    assert (str(first.cursor), second.cursor) == ("ab:1", None)
