"""The monitor as a person uses it, by keys, over runs that are really read."""

from __future__ import annotations

import asyncio

import pytest
from textual.widgets import Input, Static, TabbedContent

import esper_telemetry
from esper_telemetry.terminal.monitor import TABS, Monitor, NamedRun
from esper_telemetry.ui.origin_files import FileOrigin
from esper_telemetry.ui.runfold import RunFold
from esper_telemetry.views.panels import PANELS


@pytest.fixture
def watch(record_run):
    """A function that makes a monitor of recorded runs."""
    folds = []

    def make(*folders) -> Monitor:
        for folder in folders:
            folds.append(RunFold(FileOrigin(folder), PANELS, publish=False))
            folds[-1].start()
        return Monitor([NamedRun(folder.name, fold) for folder, fold in zip(folders, folds, strict=True)])

    yield make
    for fold in folds:
        fold.stop()


def shown(app, name: str) -> str:
    """Return what a part of the screen shows."""
    from rich.console import Console

    console = Console(width=160, no_color=True)
    with console.capture() as capture:
        console.print(app.query_one(name, Static).content)
    return capture.get()


async def until(pilot, condition) -> None:
    for _ in range(600):
        if condition():
            return
        await pilot.pause(0.05)
    raise AssertionError("it never came true")


def using(app, work) -> None:
    async def run() -> None:
        async with app.run_test(size=(160, 50)) as pilot:
            await work(pilot)

    asyncio.run(run())


def test_each_panel_has_a_tab():
    placed = [panel for _, panels in TABS.values() for panel in panels]
    assert sorted([*placed, "feed"]) == sorted(panel.id for panel in PANELS)


def test_the_tabs_are_reached_by_number_and_show_their_panels(record_run, watch):
    app = watch(record_run(name="whole"))

    async def work(pilot) -> None:
        await until(pilot, lambda: "ended" in shown(app, "#head"))
        assert "whole" in shown(app, "#head")
        await until(pilot, lambda: "Policy updates" in shown(app, "#body-vitals"))
        for key, name, text in (("2", "slots", "Seeds"), ("3", "actions", "Actions"), ("5", "events", "seed.culled")):
            await pilot.press(key)
            await until(pilot, lambda name=name, text=text: text in shown(app, f"#body-{name}"))
            assert app.query_one(TabbedContent).active == name

    using(app, work)


def test_events_are_filtered_while_the_filter_is_typed(record_run, watch):
    app = watch(record_run())

    async def work(pilot) -> None:
        await pilot.press("slash", *"seed.culled")
        await until(pilot, lambda: "seed.culled" in shown(app, "#body-events"))
        await until(pilot, lambda: "epoch.completed" not in shown(app, "#body-events"))
        await pilot.press("enter", "1")
        assert app.query_one(TabbedContent).active == "vitals", "the keys are keys again"
        assert app.query_one("#filter", Input).value == "seed.culled"

    using(app, work)


def test_several_runs_are_listed_and_reached_by_n_and_p(record_run, watch):
    app = watch(record_run(name="first"), record_run(name="second"))

    async def work(pilot) -> None:
        await until(pilot, lambda: "first" in shown(app, "#head"))
        await pilot.press("n")
        await until(pilot, lambda: "second" in shown(app, "#head"))
        await pilot.press("6")
        await until(pilot, lambda: "▶ second" in shown(app, "#body-runs"))
        await pilot.press("p")
        await until(pilot, lambda: "▶ first" in shown(app, "#body-runs"))

    using(app, work)


def test_what_is_written_meanwhile_appears_and_a_pause_keeps_the_view(tmp_path, watch):
    with esper_telemetry.start_run(tmp_path / "runs", name="live") as run:
        run.emit(esper_telemetry.events.ScalarLogged, name="early", value=1.0, step=1)
        run.flush()
        app = watch(run.folder)

        async def work(pilot) -> None:
            await until(pilot, lambda: "early" in shown(app, "#body-vitals"))
            await pilot.press("space")
            run.emit(esper_telemetry.events.ScalarLogged, name="late", value=1.0, step=1)
            run.flush()
            await until(pilot, lambda: "paused" in shown(app, "#head"))
            await pilot.pause(1.2)
            assert "late" not in shown(app, "#body-vitals")
            await pilot.press("space")
            await until(pilot, lambda: "late" in shown(app, "#body-vitals"))

        using(app, work)


def test_a_run_that_cannot_be_read_says_so_in_the_header(record_run, watch):
    folder = record_run()
    (file,) = folder.glob("*.esr.zst")
    file.write_bytes(b"no record")
    app = watch(folder)

    async def work(pilot) -> None:
        await until(pilot, lambda: "cannot be read" in shown(app, "#head"))

    using(app, work)


def test_q_ends_it(record_run, watch):
    app = watch(record_run())

    async def work(pilot) -> None:
        await pilot.press("q")

    using(app, work)
    assert app.return_code == 0
