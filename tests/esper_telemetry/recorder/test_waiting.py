"""Parts of what waits in the buffer: what events take in a frame, and which of them are of a kind."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from esper_telemetry.recorder.ledger import INVALID
from esper_telemetry.recorder.waiting import (
    KIND,
    ROOM,
    WIDTH,
    Loss,
    groups_of,
    part_of,
    places_by_kind,
    size_of,
    sizes_of,
)


class Kind:
    """What a group has of an entry's kind: it hands back what it is given."""

    def __init__(self, type_id, spare):
        self.type_id, self.spare = type_id, spare

    def group(self, *parts, pause):
        pause()
        return (self.type_id, *map(list, parts))


LOSS = Loss("x.Y", INVALID)


def entries_of(kinds, wheres):
    rooms = [100 + at + kind.spare for at, kind in enumerate(kinds)]
    return [
        value
        for at, (kind, where) in enumerate(zip(kinds, wheres, strict=True))
        for value in (kind, where, at, f"row {at}", rooms[at] + (where[1] if at and where is not wheres[at - 1] else 0))
    ]


@pytest.mark.parametrize("seed", range(20))
def test_a_size_is_the_sum_of_sizes_and_a_context_counts_for_nothing_in_a_frame(seed):
    drawn = random.Random(seed)
    few = [Kind(at, drawn.randrange(50)) for at in range(1, drawn.choice((2, 5)))]
    places = [(None, 1000, ("step",), at) for at in range(drawn.choice((1, 3)))]
    count = drawn.randrange(1, 60)
    entries = entries_of([drawn.choice(few) for _ in range(count)], [drawn.choice(places) for _ in range(count)])
    start = drawn.randrange(count)
    assert sizes_of(entries, 0, count) == [100 + at for at in range(count)]
    assert size_of(entries, 0, count) == sum(range(100, 100 + count))
    # What is before the first of a stretch is not looked at: its context is taken for that of the one before.
    assert size_of(entries, start, count) == sum(sizes_of(entries, start, count))


def test_groups_have_the_events_of_each_kind_in_their_order_without_losses():
    one, two = Kind(1, 0), Kind(2, 0)
    kinds = [one, two, LOSS, one, two, one]
    entries = entries_of(kinds, [SimpleNamespace()] * 6)
    pauses = []
    parts = range(11, 17), part_of(entries, KIND, 0, 6), part_of(entries, ROOM, 0, 6)
    assert groups_of(places_by_kind(kinds), parts, lambda: pauses.append(1)) == [
        (1, [11, 14, 16], [one] * 3, [100, 103, 105]),
        (2, [12, 15], [two] * 2, [101, 104]),
    ]
    assert len(pauses) == 2
    assert len(entries) == 6 * WIDTH


def test_a_single_kind_is_given_all_and_losses_alone_are_no_group():
    one = Kind(1, 0)
    assert groups_of(places_by_kind([one] * 3), (range(3),), lambda: None) == [(1, [0, 1, 2])]
    assert groups_of(places_by_kind([LOSS] * 3), (range(3),), lambda: None) == []
    assert groups_of(places_by_kind([one, LOSS]), (range(3),), lambda: None) == [(1, [0])]
