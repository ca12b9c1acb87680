from __future__ import annotations

import itertools

import pytest

from esper_telemetry.recordfile import FrameRef, Selection
from esper_telemetry.v1 import record_pb2

FRAME = FrameRef(0, 1, 1, 10, 0b101, first_seq=100, last_seq=120, min_time=1000, max_time=2000)


@pytest.mark.parametrize(
    ("selection", "concerns", "covers"),
    [
        (Selection(), True, True),
        (Selection(type_ids=frozenset({1})), True, False),
        (Selection(type_ids=frozenset({2})), False, False),
        (Selection(since_ns=2000), True, False),
        (Selection(since_ns=2001), False, False),
        (Selection(until_ns=1001), True, False),
        (Selection(until_ns=1000), False, False),
        (Selection(since_ns=1000, until_ns=2001), True, True),
        (Selection(first_seq=120), True, False),
        (Selection(first_seq=121), False, False),
        (Selection(last_seq=99), False, False),
        (Selection(first_seq=100, last_seq=120), True, True),
        (Selection(env_ids=frozenset({1})), True, False),
    ],
)
def test_a_frame_is_judged_by_its_descriptor(selection, concerns, covers):
    assert selection.concerns(FRAME) is concerns
    assert selection.covers(FRAME) is covers


def test_a_frame_that_is_covered_has_no_event_that_is_not_kept():
    bounds = [None, 1000, 1500, 2001]
    for since, until in itertools.product(bounds, bounds):
        selection = Selection(since_ns=since, until_ns=until)
        kept = [selection.keeps(record_pb2.Event(time_unix_nano=time)) for time in (1000, 1500, 2000)]
        assert not selection.covers(FRAME) or all(kept)
        assert selection.concerns(FRAME) or not any(kept)


@pytest.mark.parametrize(
    ("selection", "kept"),
    [
        (Selection(type_ids=frozenset({7})), True),
        (Selection(type_ids=frozenset({8})), False),
        (Selection(first_seq=50, last_seq=50), True),
        (Selection(last_seq=49), False),
        (Selection(env_ids=frozenset({0})), True),
        (Selection(env_ids=frozenset({1})), False),
    ],
)
def test_an_event_is_judged_by_its_envelope(selection, kept):
    event = record_pb2.Event(type_id=7, seq=50, time_unix_nano=5, context={"env_id": 0})
    assert selection.keeps(event) is kept


def test_an_event_without_an_environment_belongs_to_none():
    assert not Selection(env_ids=frozenset({0})).keeps(record_pb2.Event(seq=1))


def test_events_that_state_no_time_are_picked_all_the_same():
    events = [record_pb2.Event(type_id=1, seq=n, time_unix_nano=n // 2) for n in range(5)]
    raw = record_pb2.RecordFile(event=events).SerializeToString()
    assert [event.seq for event in Selection(until_ns=2).pick(events, raw)] == [0, 1, 2, 3]


@pytest.mark.parametrize("turned", [True, False], ids=["times turn back", "times rise"])
def test_many_events_are_picked_as_each_would_be_kept(turned):
    events = [
        record_pb2.Event(
            type_id=1 + n % 3,
            seq=n,
            time_unix_nano=n * 7 % 50 if turned else n,
            context={"env_id": n % 4} if n % 5 else {},
        )
        for n in range(1, 60)
    ]
    raw = record_pb2.RecordFile(event=events).SerializeToString()
    bounds = (None, 0, 20, 40)
    for since, until, first, last in itertools.product(bounds, repeat=4):
        for types, envs in itertools.product((None, frozenset({1, 2})), (None, frozenset({0, 3}))):
            selection = Selection(types, since, until, first, last, envs)
            assert selection.pick(events, raw) == [event for event in events if selection.keeps(event)]
