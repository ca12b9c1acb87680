"""Spools to test with: real segments by the real file sink, and a collector's answers by its real pure logic."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from esper_telemetry.recordfile import HeaderInfo
from esper_telemetry.schema import Batch, event_type, frame_event
from esper_telemetry.sinks import FileSink
from esper_telemetry.uplink.spool import Spool, find_segments
from esper_telemetry.v1 import training_pb2
from tests.esper_telemetry.collectorprocess import CollectorProcess, stored_frames, wait_until

if TYPE_CHECKING:
    from pathlib import Path

SCALAR = event_type(training_pb2.ScalarLogged)
EPOCH = event_type(training_pb2.EpochCompleted)
START = 1_760_000_000_000_000_000
RUN_ID = "20261122T223328Z-test-1f3a9c"


def make_batch(first: int, count: int, *, noise: int = 0, last_seq: int | None = None, new_types=()) -> Batch:
    """Return `count` events from number `first`, the last ones of `new_types`; `noise` bytes of others are random."""
    made = []
    ids = [*[1] * (count - len(new_types)), *(number for number, _ in new_types)]
    for type_id, seq in zip(ids, range(first, first + count), strict=True):
        payload = training_pb2.ScalarLogged(name=f"loss{seq}{os.urandom(noise).hex()}", value=seq / 7, step=seq)
        content = payload.SerializeToString() if type_id == 1 else b""
        made.append(frame_event(type_id, START + seq * 1_000_000, seq, b"", content))
    times = START + first * 1_000_000, START + (first + count - 1) * 1_000_000
    batch = Batch(made, ids, first, last_seq or first + count - 1, *times)
    batch.new_types = list(new_types)
    return batch


class Producer:
    """A writer of a run's segments, one frame a call.

    Attributes:
        folder: the run folder.
        sink: the real sink.
        last_seq: last number written.
    """

    def __init__(self, root: Path, *, run_id: str = RUN_ID, rank: int = 0, max_bytes: int = 1 << 28) -> None:
        header = HeaderInfo(run_id=run_id, producer_id=os.urandom(16), rank=rank, anchor_unix_nano=START)
        self.sink = FileSink(root, header, [(1, SCALAR)], max_bytes=max_bytes)
        self.folder = self.sink.path.parent
        self.last_seq = 0

    def write(self, frames: int = 1, per_frame: int = 10, **how) -> Producer:
        """Write frames of `per_frame` events each."""
        for _ in range(frames):
            batch = make_batch(self.last_seq + 1, per_frame, **how)
            self.sink.write(batch)
            self.last_seq = batch.last_seq
        return self

    def close(self) -> Producer:
        """Close the record as a run does at its end."""
        self.sink.close()
        return self

    def die(self) -> Producer:
        """Let go of the file as a killed process does."""
        self.sink.abandon()
        return self

    def spool(self, *, follow: bool = False) -> Spool:
        """Return a spool over what there is."""
        return Spool([place for path in self.sink.paths for place in find_segments(path)], follow=follow)


def drain(spool) -> list:
    """Return everything the spool has now."""
    found = []
    while (item := spool.read()) is not None:
        found.append(item)
    return found


@pytest.fixture
def collector(tmp_path):
    process = CollectorProcess(tmp_path / "collected")
    yield process.start()
    process.kill()


@pytest.fixture
def producer(tmp_path) -> Producer:
    return Producer(tmp_path)


@pytest.fixture
def kit():
    """The functions of this file, for tests: they cannot import it (importlib mode)."""

    class Kit:
        Producer = Producer
        batch = staticmethod(make_batch)
        frames = staticmethod(stored_frames)
        drain = staticmethod(drain)
        wait_until = staticmethod(wait_until)
        scalar = SCALAR
        epoch = EPOCH
        start = START

    return Kit
