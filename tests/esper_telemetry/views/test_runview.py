"""A run's panels together: fed one by one or at once they show the same, and one broken panel blanks no other."""

from __future__ import annotations

import math

import pytest

from esper_telemetry import read
from esper_telemetry.v1 import run_pb2, training_pb2
from esper_telemetry.views import Look, RunView, Window, document
from esper_telemetry.views.axes import Places, XKind, position
from esper_telemetry.views.figure import Strip
from esper_telemetry.views.panel import Fold, Panel
from esper_telemetry.views.panels import PANELS
from esper_telemetry.views.truth import state_cell


def update(batch, **fields):
    return training_pb2.PpoUpdateCompleted(**fields), {"batch_idx": batch}


def view_of(path, **options) -> RunView:
    view = RunView(PANELS, **options)
    view.feed(read(path, strict=False))
    return view


def items(view, panel="truth", look=None):
    (strip,) = view.panel_figures(panel, look).figures
    assert isinstance(strip, Strip)
    return dict(strip.items)


def test_what_is_fed_one_by_one_shows_what_is_fed_at_once(record_run):
    events = list(read(record_run()))
    whole, single = RunView(PANELS), RunView(PANELS)
    whole.feed(events)
    for event in events:
        single.feed([event])
    assert document([p.figures for p in whole.figures()]) == document([p.figures for p in single.figures()])
    assert whole.versions() == single.versions()


def test_a_series_has_the_numbers_of_the_record_and_their_sequence_numbers(write_record):
    path = write_record(
        [update(1, kl_divergence=0.01), update(2, kl_divergence=math.nan), update(3, kl_divergence=0.0)]
    )
    (series,) = [f for f in view_of(path).panel_figures("ppo").figures if f.title == "KL divergence"]
    (line,) = series.lines
    assert [(p.x, p.seq, p.joined) for p in line.points] == [(1, 1, False), (2, 2, True), (3, 3, True)]
    assert [p.y for p in line.points][::2] == [0.01, 0.0]
    assert math.isnan(line.points[1].y)


def test_a_value_that_was_not_measured_is_no_zero_and_breaks_the_line(write_record):
    path = write_record(
        [update(1, kl_divergence=0.01), update(2, skipped=True, skip_reason="rollback"), update(3, kl_divergence=0.02)]
    )
    (series,) = view_of(path).panel_figures("ppo").figures
    assert [(p.x, p.y, p.joined) for p in series.lines[0].points] == [(1, 0.01, False), (3, 0.02, False)]
    assert [(mark.x, mark.text) for mark in series.marks] == [(2, "update skipped: rollback")]


def test_a_line_never_crosses_missing_numbers(write_record):
    path = write_record([update(1, lr=0.1), update(2, lr=0.1)], [update(5, lr=0.1), update(6, lr=0.1)], shed=3)
    (series,) = view_of(path).panel_figures("ppo").figures
    assert [p.joined for p in series.lines[0].points] == [False, True, False, True]
    first = series.gaps[0]
    assert (first.start, first.end, first.missing) == (2, 5, 3)


def test_the_truth_strip_always_has_the_same_items(write_record, record_run):
    empty, full = RunView(PANELS), view_of(record_run())
    assert list(items(empty)) == list(items(full))
    assert items(empty)["level"].state == "not_yet"
    assert items(full)["level"].value == "normal"
    assert items(full)["lost"].value == 0
    assert items(full)["state"].value == "ended: completed"


def test_losses_are_told_with_their_causes(write_record, scalars):
    drop = run_pb2.DropCount(full_name="esper_telemetry.v1.ScalarLogged", cause="DROP_CAUSE_BUFFER_FULL", count=3)
    path = write_record(scalars(2), [(run_pb2.DropReport(drops=[drop]), {})], shed=4)
    lost = items(view_of(path))["lost"]
    assert lost.value == 4
    assert lost.reason == "buffer_full 3; 1 without a cause"


def test_a_live_run_turns_slow_and_stale(write_record, scalars):
    facts = view_of(write_record(scalars(1))).facts
    ages = {1: "live", 20: "slow: 20 s", 300: "stale: 300 s"}
    for age, text in ages.items():
        assert state_cell(facts, facts.last_ns + int(age * 1e9)).value == text
    assert state_cell(facts, None).value == "no end recorded"


class Broken(Fold):
    """Fails at its third event."""

    def __init__(self) -> None:
        self.seen = 0

    def add(self, event) -> None:
        self.seen += 1
        if self.seen == 3:
            raise ValueError(event.type)

    def figures(self, look):
        return ()


def test_a_panel_that_fails_reports_it_and_the_others_go_on(write_record, scalars):
    broken = Panel("broken", "Broken", "", {"scalar.logged": ()}, Broken)
    view = RunView((*PANELS, broken))
    view.feed(read(write_record(scalars(5))))
    assert "failed at event 3 (scalar.logged): ValueError" in view.panel_figures("broken").absence
    assert items(view)["events"].value == 5


def test_an_unknown_panel_is_an_error_that_lists_the_known_ones(write_record, scalars):
    with pytest.raises(KeyError, match="truth"):
        view_of(write_record(scalars(1))).fold("nothing")


def test_an_event_is_placed_by_the_best_counter_it_has():
    order = (XKind.EPOCH, XKind.STEP)
    places = Places()
    places.see(10)
    kind, stored = position({"inner_epoch": 5, "global_epoch": 3}, 0, order)
    assert (kind, places.place(kind, stored)) == (XKind.EPOCH, 2.5)
    assert position({"step": 7}, 0, order) == (XKind.STEP, 7)
    assert position({}, 2_000_000_000, order) == (XKind.TIME, 2.0)


def test_a_zoomed_view_gives_every_measurement_of_its_window(write_record):
    path = write_record([update(batch, lr=float(batch % 7)) for batch in range(1, 3001)])
    view = view_of(path)
    (series,) = view.panel_figures("ppo", Look(view.facts, points=200)).figures
    assert len(series.lines[0].points) < 500
    (series,) = view.panel_figures("ppo", Look(view.facts, window=Window(1000, 1050), points=200)).figures
    assert [p.x for p in series.lines[0].points if 1000 <= p.x <= 1050] == list(range(1000, 1051))
