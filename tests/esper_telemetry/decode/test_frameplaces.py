"""Frames of other batches and steps stay closed, and no event is missed for it."""

from __future__ import annotations

import pytest

import esper_telemetry as et
from esper_telemetry.decode import BlockEvent
from esper_telemetry.events import EpochCompleted, PpoUpdateCompleted, ScalarLogged
from esper_telemetry.recordfile import RecordReader, verify
from esper_telemetry.v1 import steps_pb2


@pytest.fixture
def run(tmp_path):
    """A real run of five frames, a batch each, whose folder is returned."""
    columns = [{"field": "op", "labels": ["WAIT", "CULL"], "numbers": [1, 3], "indices": bytes([0, 1])}]
    where = [{"field": "batch_idx", "values": [7, 8]}]
    with et.start_run(tmp_path, name="r", record=et.RecordOptions(compact=False)) as run:
        for batch in range(1, 6):
            emitter = run.bind(batch_idx=batch)
            for step in range(10):
                emitter.emit(PpoUpdateCompleted, lr=0.1, step=10 * batch + step)
                emitter.emit(EpochCompleted, train_loss=float(step), step=10 * batch + step)
                run.emit(ScalarLogged, name="loss", value=1.0, step=step)
            run.flush()
        block = steps_pb2.StepBlock(row_type="esper.v1.ActionTaken", steps=2, envs=1, columns=columns, context=where)
        run.emit(block, batch_idx=1)
    return run.folder


def opened(monkeypatch, folder, **choice):
    """Return the events that a choice gives, and how many frames were decompressed for it."""
    offsets = set()
    decompress = RecordReader.decompress

    def counting(reader, frame):
        offsets.add(frame.offset)
        return decompress(reader, frame)

    with monkeypatch.context() as patch:
        patch.setattr(RecordReader, "decompress", counting)
        events = list(et.read(folder, **choice))
    return events, len(offsets)


def chosen(folder, name, span, **choice):
    """Return what `read` must give, by looking at all events."""
    return [e.position for e in et.read(folder, **choice) if span[0] <= e.data.get(name, -1) <= span[1]]


@pytest.mark.parametrize(
    ("choice", "name", "span"),
    [
        ({"batches": (2, 3), "types": "ppo.*"}, "batch_idx", (2, 3)),
        ({"steps": (25, 31), "types": "epoch.*"}, "step", (25, 31)),
        ({"steps": (3, 4), "types": "scalar.*"}, "step", (3, 4)),
        ({"batches": (8, None), "types": "esper.v1.*"}, "batch_idx", (8, 9)),
        ({"batches": (4, 8)}, "batch_idx", (4, 8)),
    ],
    ids=str,
)
def test_no_event_is_missed(run, choice, name, span):
    wanted = {key: value for key, value in choice.items() if key == "types"}
    expected = chosen(run, name, span, **wanted)
    assert expected
    assert [event.position for event in et.read(run, **choice)] == expected


def test_frames_of_other_batches_are_not_decompressed(run, monkeypatch):
    everything, frames = opened(monkeypatch, run, types="ppo.*")
    assert any(isinstance(event, BlockEvent) for event in everything)
    _, of_one = opened(monkeypatch, run, types="ppo.*", batches=(2, 2))
    _, of_none = opened(monkeypatch, run, types="epoch.*", steps=(1000, None))
    assert frames >= 5
    assert (frames - of_one, frames - of_none) == (4, 5)


def test_the_index_states_where_the_events_of_a_frame_happened(run):
    (path,) = run.glob("*.esr.zst")
    with RecordReader(path) as reader:
        stated = [(i.min_batch_idx, i.max_batch_idx, i.min_step, i.max_step) for i in reader.index.frames if i.min_step]
    assert stated == [(batch, batch, 10 * batch, 10 * batch + 9) for batch in range(1, 6)]
    assert verify(path).good
