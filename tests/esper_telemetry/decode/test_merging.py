"""Streams by time: the order of a merge of all of them, and no stream begun before it is due."""

from __future__ import annotations

import heapq
import random
from functools import partial
from operator import attrgetter
from types import SimpleNamespace

from esper_telemetry.decode.records import TimedStream, merge_by_time


def streams_of(rng: random.Random) -> list[list[SimpleNamespace]]:
    """Return streams whose clocks mostly rise, with times that come more than once."""
    found = []
    for number in range(rng.randrange(12)):
        time = rng.randrange(30)
        stream = []
        for seq in range(rng.randrange(6)):
            stream.append(SimpleNamespace(time_unix_nano=time, stream=number, seq=seq))
            time = max(0, time + rng.choice((0, 0, 1, 5, -2)))
        found.append(stream)
    return found


def earliest(stream: list[SimpleNamespace], rng: random.Random) -> int:
    return min((event.time_unix_nano for event in stream), default=0) - rng.choice((0, 0, 3))


def test_the_order_is_that_of_a_merge_of_all_streams():
    for seed in range(300):
        rng = random.Random(seed)
        streams = streams_of(rng)
        timed = [TimedStream(earliest(stream, rng), partial(iter, stream)) for stream in streams]
        assert list(merge_by_time(timed)) == list(heapq.merge(*streams, key=attrgetter("time_unix_nano"))), seed


def test_a_stream_is_begun_when_it_is_due_and_ends_before_the_next_one_that_is_later():
    open_now, most = set(), 0

    def stream(number):
        nonlocal most
        open_now.add(number)
        most = max(most, len(open_now))
        yield from (SimpleNamespace(time_unix_nano=number * 10 + at) for at in range(5))
        open_now.discard(number)

    timed = [TimedStream(number * 10, partial(stream, number)) for number in range(1_000)]
    random.Random(1).shuffle(timed)
    assert len(list(merge_by_time(timed))) == 5_000
    assert most == 1
