"""What the page may never do: hide what is missing, take a silent run for a live one, run what a record holds."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

import esper_telemetry as et
from tests.integrations.chromium import address
from tests.integrations.pagerecords import HOSTILE, record, update

pytest.importorskip("playwright")
pytestmark = pytest.mark.integrations

TRAINER = """
    import sys, time
    import esper_telemetry as et
    with et.start_run(sys.argv[1], name="frozen") as run:
        run.emit(et.events.ScalarLogged, name="loss", value=1.0, step=1)
        run.flush()
        print(run.folder, flush=True)
        time.sleep(600)
"""


@pytest.fixture
def trainer(tmp_path):
    """A process that trains, and its folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(TRAINER), str(tmp_path / "runs")], stdout=subprocess.PIPE, text=True
    )
    folder = process.stdout.readline().strip()
    yield process, folder
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_frozen_trainer_becomes_stale_and_a_killed_one_is_gone(trainer, open_page, tab):
    process, folder = trainer
    view = tab().open(address(open_page(folder)))
    view.until("() => probe.life() === 'live'")
    process.send_signal(signal.SIGSTOP)
    view.page.wait_for_function("() => probe.life() === 'stale'", timeout=150_000)
    assert "no heartbeat" in view.page.locator(".problems").inner_text()
    process.kill()
    view.until("() => probe.life() === 'gone'")
    assert "writer is gone" in view.page.locator(".problems").inner_text()


def test_a_gap_is_hatched_and_no_line_crosses_it(tmp_path, open_page, tab):
    with et.start_run(tmp_path / "runs", name="lossy", record=et.RecordOptions(buffer_bytes=1 << 16)) as run:
        for batch in range(1, 4):
            update(run, batch)
        run.flush()
        for step in (1, 2):
            run.emit(et.events.ScalarLogged, name="flood", value=float(step), step=step)
        run.emit(et.events.ScalarLogged, name="x" * (1 << 17), value=3.0, step=3)  # no buffer holds it; it has a number
        run.flush()
        assert run.stats().dropped == 1
        for step in (30_000, 30_001):
            run.emit(et.events.ScalarLogged, name="flood", value=float(step), step=step)
        update(run, 4)
    view = tab().open(address(open_page(run.folder)))
    view.until("() => probe.life() === 'ended'")
    text = view.page.locator("#panel-truth").inner_text()
    view.lines("flood")
    assert view.page.evaluate("() => probe.gaps('flood')") >= 1, text
    assert ["NaN", "NaN"] in view.lines("flood")[0]["raw"], text


def test_what_was_not_measured_is_a_dash_and_breaks_the_line(tmp_path, open_page, tab):
    def some(run) -> None:
        for batch in (1, 2, 3, 4):
            run.bind(batch_idx=batch, episodes_completed=batch).emit(
                et.events.PpoUpdateCompleted, lr=1e-3, **({} if batch == 3 else {"entropy": 0.0})
            )

    view = tab().open(address(open_page(record(tmp_path / "runs", "some", some))))
    raw = view.lines("entropy")[0]["raw"]
    assert raw == [[1, 0], [2, 0], ["NaN", "NaN"], [4, 0]]
    silent = view.page.locator("#panel-truth dl.strip > div", has_text="silent for")
    assert "—" in silent.inner_text()
    assert silent.locator(".cell").get_attribute("data-state") == "not_yet"


def test_hostile_text_is_text_wherever_it_is_shown(tmp_path, open_page, tab):
    def hostile(run) -> None:
        run.emit(et.events.ScalarLogged, name=HOSTILE, value=1.0, step=1)
        run.emit(et.events.ScalarLogged, name=HOSTILE, value=2.0, step=2)
        run.log_text(HOSTILE, HOSTILE, step=1)
        run.bind(batch_idx=1, episodes_completed=1).emit(
            et.events.ActionDistribution, action_counts={HOSTILE: 2}, head=HOSTILE
        )

    page = open_page(record(tmp_path / "runs", HOSTILE[:60], hostile, tags={"note": HOSTILE}).parent)
    view = tab().open(page.address, panels=False)
    assert "<script>" in view.page.locator(".list").inner_text()
    view.open(address(page))
    for panel in ("scalars", "actions"):
        view.show(panel)
    view.page.locator(".feed .feed-rows button").last.click()
    view.page.wait_for_selector("#drawer .detail")
    text = view.page.locator("body").inner_text()
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "\\u202e" in text
    assert view.page.evaluate("() => window.pwned === undefined && !document.querySelector('img[src=x]')")


def test_a_run_that_cannot_be_read_any_more_says_so(tmp_path, open_page, tab):
    folder = record(tmp_path / "runs")
    page = open_page(tmp_path / "runs")
    key = page.get("/api/runs").json()["runs"][0]["key"]
    (file,) = folder.glob("*.esr.zst")
    file.write_bytes(b"no record any more")
    view = tab()
    view.page.goto(f"{page.address}#/run/{key}")
    view.until("() => document.querySelector('.problems')?.textContent.includes('cannot be read')")
