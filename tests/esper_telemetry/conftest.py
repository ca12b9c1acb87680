"""Records for tests of what reads them: real runs by the recorder, and files built event by event."""

from __future__ import annotations

import math
import os
import traceback
from typing import TYPE_CHECKING

import pytest

import esper_telemetry
from esper.v1 import seed_pb2, trainer_pb2
from esper_telemetry.recordfile import HeaderInfo, RecordWriter
from esper_telemetry.schema import Batch, encode_context, event_type, frame_event
from esper_telemetry.v1 import run_pb2, training_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from google.protobuf.message import Message

START = 1_795_386_808_000_000_000
SCHEMAS = (seed_pb2, trainer_pb2)


def emit_variety(run) -> None:
    """Emit events with everything the plain form has a rule for."""
    seat = run.bind(env_id=0, device="cuda:0", inner_epoch=1, global_epoch=3)
    seat.emit(seed_pb2.SeedGerminated, slot_id="mid", seed_id="s-1", blueprint_id="conv_light", alpha=0.0)
    seat.emit(seed_pb2.SeedCulled, slot_id="mid", seed_id="s-1", from_stage="SEED_STAGE_TRAINING", alpha=0.25)
    other = run.bind(env_id=1, device="cpu", inner_epoch=2, global_epoch=3)
    other.emit(training_pb2.EpochCompleted, train_loss=math.nan, val_loss=-math.inf, val_accuracy=0.0)
    other.emit(
        trainer_pb2.CounterfactualComputed,
        slot_id="späte Schicht \u2028 \U0001f331",
        available=False,
        reason="UNAVAILABLE_REASON_MISSING_BASELINE",
    )
    batch = run.bind(batch_idx=3, episodes_completed=4)
    batch.emit(training_pb2.ActionDistribution, action_counts={"wait": 7, "cull": 0, "germinate": 2}, head="op")
    batch.emit(
        training_pb2.PpoUpdateCompleted,
        lr=0.0003,
        skipped=False,
        heads=[{"head": "op", "entropy": 1.25}, {"head": "slot"}],
    )
    run.emit(training_pb2.ScalarLogged, name="loss", value=0.1, step=-2)
    run.bind(step=9).emit(training_pb2.ScalarLogged, name="loss", value=0.25, step=1)


@pytest.fixture
def record_run(tmp_path) -> Callable[..., Path]:
    """A function that records a real run and returns its folder."""

    def record(fill=emit_variety, *, name: str = "test", folder: Path | None = None, **options) -> Path:
        options.setdefault("schemas", SCHEMAS)
        with esper_telemetry.start_run(folder or tmp_path / "runs", name=name, **options) as run:
            fill(run)
        return run.folder

    return record


def batch_of(
    messages: Sequence[tuple[Message, dict]], first_seq: int, type_ids: dict[type, int], *, last_seq: int | None = None
) -> Batch:
    """Return messages with their contexts as one batch; a `time` in a context is the event's time."""
    events, times, ids = [], [], []
    for seq, (message, context) in enumerate(messages, first_seq):
        fields = dict(context)
        times.append(fields.pop("time", START + seq * 1_000_000))
        ids.append(type_ids[type(message)])
        events.append(frame_event(ids[-1], times[-1], seq, encode_context(fields), message.SerializeToString()))
    last = last_seq or first_seq + len(events) - 1
    return Batch(events, ids, first_seq, last, min(times), max(times))


def write_frames(
    path: Path,
    frames: Sequence[Sequence[tuple[Message, dict]]],
    *,
    close: bool = True,
    shed: int = 0,
    first_seq: int = 1,
    **header,
) -> Path:
    """Write a record from frames, each a list of (message, context), and so many missing numbers behind each."""
    classes = list(dict.fromkeys([run_pb2.RunStarted, *(type(m) for frame in frames for m, _ in frame)]))
    type_ids = {cls: number for number, cls in enumerate(classes, 1)}
    header = {"run_id": "20261122T223328Z-test-1f3a9c", "producer_id": bytes(range(16)), **header}
    known = HeaderInfo(previous_last_seq=first_seq - 1, **header)
    writer = RecordWriter(path, known, [(number, event_type(cls)) for cls, number in type_ids.items()])
    seq = first_seq
    for frame in frames:
        batch = batch_of(frame, seq, type_ids, last_seq=seq + len(frame) - 1 + shed)
        writer.write(batch)
        seq = batch.last_seq + 1
    writer.close() if close else writer.abandon()
    return path


@pytest.fixture
def write_record(tmp_path) -> Callable[..., Path]:
    """A function that writes a record from frames, each a list of (message, context)."""

    def write(*frames: Sequence[tuple[Message, dict]], path: Path | None = None, **options) -> Path:
        return write_frames(path or tmp_path / "record.esr.zst", frames, **options)

    return write


def scalars(count: int, **context) -> list[tuple[Message, dict]]:
    """Return so many numbered scalars."""
    return [(training_pb2.ScalarLogged(name="n", value=float(at), step=at), dict(context)) for at in range(count)]


@pytest.fixture(name="scalars")
def scalars_fixture():
    return scalars


@pytest.fixture
def in_child() -> Callable[..., None]:
    """A function that calls another in a forked child, which leaves by os._exit, and demands that it succeeds."""

    def run(act: Callable[[], object]) -> None:
        child = os.fork()
        if not child:
            try:
                act()
            except BaseException:  # noqa: BLE001 - nothing may go up into the tests of the parent
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    return run
