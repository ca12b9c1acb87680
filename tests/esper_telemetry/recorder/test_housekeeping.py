"""What the writer thread looks after in each cycle: losses are reported at their own pace, nothing after the end."""

from __future__ import annotations

import time

from esper_telemetry import events, testing


def names(sink):
    return [event.name for event in testing.recorded(sink)]


def test_losses_are_reported_while_the_run_goes_on_and_once_for_each_pace():
    run, sink = testing.memory_run(strict=False)
    for _ in range(5):
        run.emit(events.ScalarLogged, nothing=1)
    while "telemetry.dropped" not in names(sink):
        time.sleep(0.01)
    for _ in range(5):
        run.emit(events.ScalarLogged, nothing=1)
    run.flush(20)
    run.close()
    reports = [event.data for event in testing.recorded(sink) if event.name == "telemetry.dropped"]
    assert reports[0]["total_dropped"] == 5
    assert len(reports) == 1, "the second losses came within a second of the first report; the last event has them"
    assert testing.recorded(sink)[-1].data["dropped"] == 10


def test_a_run_without_losses_reports_none():
    run, sink = testing.memory_run()
    run.emit(events.ScalarLogged, name="x")
    run.flush(20)
    run.close()
    assert names(sink) == ["run.started", "scalar.logged", "run.finished"]


def test_nothing_is_reported_once_the_end_has_begun():
    run, sink = testing.memory_run(strict=False)
    run.emit(events.ScalarLogged, nothing=1)
    run.close()
    assert names(sink)[-1] == "run.finished"
    assert testing.recorded(sink)[-1].data["dropped"] == 1
