"""Records to test with: real events of the SDK's schema, written by the real writer."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from esper_telemetry.recordfile import HeaderInfo, RecordWriter
from esper_telemetry.schema import Batch, event_classes, event_type, frame_event
from esper_telemetry.v1 import context_pb2, run_pb2, training_pb2

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = [cls for module in (run_pb2, training_pb2) for cls in event_classes(module)]
TYPES = [(number, event_type(cls)) for number, cls in enumerate(CLASSES, 1)]
SCALAR = next(number for number, kind in TYPES if kind.cls is training_pb2.ScalarLogged)
EPOCH = next(number for number, kind in TYPES if kind.cls is training_pb2.EpochCompleted)
START = 1_760_000_000_000_000_000
PRODUCER = bytes(range(16))


def element(seq: int, rng: random.Random) -> tuple[int, int, bytes]:
    """Return type id, time and bytes of one event that depends on its number and `rng` only."""
    time = START + seq * 1_000_000
    env = seq % 4
    if seq % 3:
        type_id = SCALAR
        payload = training_pb2.ScalarLogged(name=f"train/loss{seq % 7}", value=rng.random(), step=seq)
    else:
        type_id = EPOCH
        payload = training_pb2.EpochCompleted(train_loss=rng.random(), val_accuracy=100 * rng.random())
    context = context_pb2.Context(env_id=env, device="cpu").SerializeToString()
    return type_id, time, frame_event(type_id, time, seq, context, payload.SerializeToString())


def make_batch(first: int, count: int, *, last_seq: int | None = None, new_types=()) -> Batch:
    """Return `count` events numbered from `first`; the same numbers always make the same bytes."""
    rng = random.Random(first * 1_000_003 + count)
    made = [element(seq, rng) for seq in range(first, first + count)]
    type_ids, times, events = zip(*made, strict=True)
    batch = Batch(events, type_ids, first, last_seq or first + count - 1, times[0], times[-1])
    batch.new_types = list(new_types)
    return batch


def make_header(**changes) -> HeaderInfo:
    """Return a header whose bytes do not depend on the machine."""
    known = {
        "run_id": "20261122T223328Z-test-1f3a9c",
        "producer_id": PRODUCER,
        "file_id": bytes(range(16, 32)),
        "anchor_unix_nano": START,
        "host": "host",
        "pid": 1,
        "writer": "test",
    }
    return HeaderInfo(**{**known, **changes})


def write_record(
    path: Path, frames: int = 3, per_frame: int = 40, *, close: bool = True, types=TYPES, **header
) -> Path:
    """Write a record of `frames` frames with `per_frame` events each, whose types its one header declares."""
    used = [number for number, _ in types if number in (SCALAR, EPOCH)]
    writer = RecordWriter(path, make_header(**header), types, first=used)
    first = header.get("previous_last_seq", 0) + 1
    for number in range(frames):
        writer.write(make_batch(first + number * per_frame, per_frame))
    if close:
        writer.close()
    else:
        writer.abandon()
    return path


class Records:
    """What tests make records with."""

    types = TYPES
    scalar = SCALAR
    epoch = EPOCH
    start = START
    batch = staticmethod(make_batch)
    header = staticmethod(make_header)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made = 0

    def path(self) -> Path:
        """Return a path that is not in use."""
        self._made += 1
        return self.folder / f"record{self._made}.esr.zst"

    def write(self, frames: int = 3, per_frame: int = 40, *, close: bool = True, types=TYPES, **header) -> Path:
        """Write a record with the real writer."""
        return write_record(self.path(), frames, per_frame, close=close, types=types, **header)

    def bytes(self, frames: int = 3, per_frame: int = 40, *, close: bool = True, types=TYPES, **header) -> bytes:
        """Return the bytes of such a record."""
        return self.write(frames, per_frame, close=close, types=types, **header).read_bytes()


@pytest.fixture
def records(tmp_path) -> Records:
    return Records(tmp_path)


@pytest.fixture
def small_types():
    """A type table of one event: its header is small, so that exhaustive tests are quick."""
    return [(SCALAR, event_type(training_pb2.ScalarLogged)), (EPOCH, event_type(training_pb2.EpochCompleted))]
