"""The last events of a run in memory: numbered, bounded, and what left is told."""

from __future__ import annotations

import pytest

from esper_telemetry.decode import read
from esper_telemetry.ui import recent
from esper_telemetry.ui.recent import Recent


@pytest.fixture
def events(write_record, scalars):
    return list(read(write_record(scalars(100))))


def steps(page) -> list[int]:
    return [event.data["step"] for _, event in page.events]


def test_what_came_after_a_number_is_given_once(events):
    last = Recent()
    last.extend(events[:60])
    page = last.after(0, lambda _: True, 1000)
    assert steps(page) == list(range(60))
    last.extend(events[60:])
    page = last.after(page.upto, lambda _: True, 1000)
    assert steps(page) == list(range(60, 100))
    assert [number for number, _ in page.events] == list(range(61, 101))
    assert last.after(page.upto, lambda _: True, 1000) == ([], 100, 0)


def test_a_wish_is_looked_for_among_all_and_the_last_ones_are_given(events):
    last = Recent()
    last.extend(events)
    assert steps(last.after(0, lambda event: event.data["step"] % 10 == 0, 3)) == [70, 80, 90]


def test_events_that_left_the_memory_are_counted(events, monkeypatch):
    monkeypatch.setattr(recent, "_MOST", 10)
    last = Recent()
    last.extend(events)
    page = last.after(50, lambda _: True, 100)
    assert steps(page) == list(range(90, 100))
    assert page.left == 40
    assert last.types == {"scalar.logged": 100}


def test_bytes_bound_it_as_well(events, monkeypatch):
    monkeypatch.setattr(recent, "_MOST_BYTES", sum(event.size for event in events[-5:]))
    last = Recent()
    last.extend(events)
    assert steps(last.after(0, lambda _: True, 100)) == list(range(95, 100))
