"""Stored measurements: decimation is stable under append, keeps extremes and gives everything inside a window."""

from __future__ import annotations

import math
import random

from esper_telemetry.views.points import LIMIT, PointStore, Window


def stored(values) -> PointStore:
    store = PointStore()
    for at, value in enumerate(values):
        store.add(float(at), value, at + 1)
    return store


def test_few_measurements_are_all_given_with_their_numbers():
    points, each = stored([3.0, -1.0, math.nan]).chosen(100, Window())
    assert [(point.x, point.seq) for point in points] == [(0.0, 1), (1.0, 2), (2.0, 3)]
    assert [point.y for point in points[:2]] == [3.0, -1.0]
    assert math.isnan(points[2].y)
    assert each == 1


def test_decimation_keeps_the_extremes_and_what_is_not_finite():
    random_values = random.Random(7)
    values = [random_values.gauss(0, 1) for _ in range(10_000)]
    values[4321] = 99.0
    values[7777] = -99.0
    values[5000] = math.inf
    points, each = stored(values).chosen(400, Window())
    shown = {(point.seq, point.y) for point in points}
    assert {(4322, 99.0), (7778, -99.0), (5001, math.inf)} <= shown
    assert shown <= set(enumerate(values, 1))
    assert len(points) <= 400 + 1
    assert each & (each - 1) == 0


def test_a_full_bin_never_changes_while_the_line_grows():
    values = [math.sin(at * at) for at in range(9000)]
    store = PointStore()
    seen: dict[int, list] = {}
    for at, value in enumerate(values):
        store.add(float(at), value, at + 1)
        if at % 97:
            continue
        points, each = store.chosen(200, Window())
        full = [point for point in points if point.seq <= (at + 1) - (at + 1) % each]
        before = seen.get(each, [])
        assert full[: len(before)] == before
        seen[each] = full
    assert len(seen) > 3


def test_a_window_gives_every_measurement_in_it():
    store = stored([float(at % 17) for at in range(50_000)])
    points, each = store.chosen(400, Window(20_000, 20_100))
    inside = [point.x for point in points if 20_000 <= point.x <= 20_100]
    assert inside == [float(at) for at in range(20_000, 20_101)]
    assert each == 1


def test_memory_is_bounded_and_the_extremes_are_kept():
    store = PointStore()
    for at in range(3 * LIMIT):
        store.add(float(at), 1e6 if at == 12_345 else float(at % 5), at + 1)
    points, each = store.chosen(500, Window())
    assert len(store) <= LIMIT + 2 * store.each
    assert store.count == 3 * LIMIT
    assert (12_345.0, 1e6, 12_346) in points
    assert each > 1
    assert store.last is not None
    assert store.last.seq == 3 * LIMIT


def test_a_skipped_event_lies_between_its_neighbours_only():
    store = PointStore()
    store.add(1, 1.0, 10)
    store.skip(12)
    store.add(3, 1.0, 14)
    store.add(4, 1.0, 16)
    assert store.skipped_between(10, 14)
    assert not store.skipped_between(14, 16)
