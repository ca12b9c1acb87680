"""Batches to give to sinks."""

from __future__ import annotations

import pytest

from esper_telemetry.recordfile import HeaderInfo
from esper_telemetry.schema import Batch, event_type, frame_event
from esper_telemetry.v1 import run_pb2, training_pb2

TYPES = [(1, event_type(training_pb2.ScalarLogged))]
LATER = (2, event_type(run_pb2.RunFinished))
START = 1_795_386_808_000_000_000


class Stream:
    """What a recorder hands to a sink: batches in order."""

    types = TYPES
    later = LATER
    start = START

    def __init__(self) -> None:
        self.next_seq = 1

    def batch(self, count: int = 10, *, size: int = 0, new_types=()) -> Batch:
        """Return the next `count` events, each with a name of `size` bytes."""
        first, self.next_seq = self.next_seq, self.next_seq + count
        payload = training_pb2.ScalarLogged(name="x" * size, value=1.5).SerializeToString()
        times = [START + seq * 1000 for seq in range(first, self.next_seq)]
        events = [frame_event(1, time, first + at, b"", payload) for at, time in enumerate(times)]
        batch = Batch(events, [1] * count, first, self.next_seq - 1, times[0], times[-1])
        batch.new_types = list(new_types)
        return batch

    def header(self, **changes) -> HeaderInfo:
        """Return a header for a new stream."""
        return HeaderInfo(**{"run_id": "20261122T223328Z-test-1f3a9c", "producer_id": bytes(range(16)), **changes})


class HandClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.wall = START
        self.monotonic = 0

    def wall_ns(self) -> int:
        return self.wall

    def monotonic_ns(self) -> int:
        return self.monotonic


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()
