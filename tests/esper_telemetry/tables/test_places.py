"""Rows by environment, batch and step: those that `read` gives, and no other frame is opened for them."""

from __future__ import annotations

import shutil

import pytest

import esper_telemetry as et
from esper.v1.trainer_pb2 import ActionTaken
from esper_telemetry.events import EpochCompleted, PpoUpdateCompleted, ScalarLogged
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.v1 import steps_pb2

SQL = 'SELECT count(*) AS n, min(batch_idx) AS low FROM "ppo.update_completed"'
TYPES = ("ppo.update_completed", "epoch.completed", "scalar.logged", "policy.action_taken")


@pytest.fixture
def run(tmp_path):
    """A run of five frames, a batch each, and a block of steps with batches of its own; its folder is returned."""
    columns = [{"field": "op", "labels": ["WAIT", "CULL"], "numbers": [1, 3], "indices": bytes([0, 1, 1, 0])}]
    where = [{"field": "batch_idx", "values": [7, 8, 7, 9]}]
    with et.start_run(tmp_path, name="r", record=et.RecordOptions(compact=False)) as run:
        for batch in range(1, 6):
            emitter = run.bind(batch_idx=batch, env_id=batch % 2)
            for step in range(40):
                emitter.emit(PpoUpdateCompleted, lr=0.1, step=40 * batch + step)
                emitter.emit(EpochCompleted, train_loss=float(step), step=40 * batch + step)
                run.bind(step=1).emit(ScalarLogged, name="loss", value=1.0, **({"step": step} if step % 2 else {}))
            emitter.emit(EpochCompleted, train_loss=0.5)
            run.flush()
        emitter.bind(inner_epoch=1).emit(ActionTaken, op="LIFECYCLE_OP_CULL", reward=0.5)
        block = steps_pb2.StepBlock(row_type="esper.v1.ActionTaken", steps=2, envs=2, columns=columns, context=where)
        run.emit(block, batch_idx=1)
    return run.folder


def places(table) -> list[tuple[int, int]]:
    return list(zip(table["seq"].to_pylist(), table["time"].cast("int64").to_pylist(), strict=True))


@pytest.mark.parametrize(
    "choice",
    [
        {"batches": (2, 3)},
        {"batches": (None, 1)},
        {"batches": (8, None)},
        {"batches": (50, 60)},
        {"steps": (3, 4)},
        {"steps": (1, 1)},
        {"steps": (85, 131)},
        {"steps": (-5, None)},
        {"steps": (90, 170), "batches": (3, 4), "envs": [1]},
        {"envs": [1]},
        {"envs": [0, 7], "first_seq": 200},
    ],
    ids=str,
)
def test_rows_are_those_that_a_reader_is_given(run, choice):
    found = {name: places(et.table(run, name, **choice)) for name in TYPES}
    expected = {name: [] for name in TYPES}
    for event in et.read(run, types=TYPES, **choice):
        expected[event.type].append((event.seq, event.time_unix_nano))
    assert found == expected


def test_rows_of_events_that_came_one_by_one(write_record):
    scalar = ScalarLogged(name="loss", value=1.0)
    stepped = ScalarLogged(name="loss", value=1.0, step=4)
    path = write_record([(scalar, {"batch_idx": 1}), (scalar, {"step": 4}), (stepped, {"step": 9}), (scalar, {})])
    assert et.table(path, "scalar.logged", steps=(4, 4))["seq"].to_pylist() == [2, 3]
    assert et.table(path, "scalar.logged", steps=(9, None))["seq"].to_pylist() == []
    assert et.table(path, "scalar.logged", batches=(0, 1))["seq"].to_pylist() == [1]


def opened(monkeypatch, run, name, **choice) -> set[int]:
    """Return the offsets of the frames that were decompressed for a choice."""
    offsets = set()
    decompress = RecordReader.decompress

    def counting(reader, frame):
        offsets.add(frame.offset)
        return decompress(reader, frame)

    with monkeypatch.context() as patch:
        patch.setattr(RecordReader, "decompress", counting)
        list(et.scan(run, name, **choice))
    return offsets


@pytest.mark.parametrize(
    ("name", "choice", "closed"),
    [
        ("ppo.update_completed", {"batches": (2, 2)}, 4),
        ("ppo.update_completed", {"batches": (2, 3)}, 3),
        ("epoch.completed", {"batches": (4, 4), "envs": [0]}, 4),
        ("ppo.update_completed", {"batches": (70, None)}, 5),
        # The payload has a step of its own, which the index does not know.
        ("scalar.logged", {"steps": (1000, None)}, 0),
    ],
    ids=str,
)
def test_frames_of_other_places_are_not_opened(run, monkeypatch, name, choice, closed):
    everything = opened(monkeypatch, run, name)
    assert len(everything) >= 5
    few = opened(monkeypatch, run, name, **choice)
    assert few <= everything
    assert len(everything - few) == closed


@pytest.mark.filterwarnings("ignore:.*is a copy of")
def test_frames_of_other_places_are_not_opened_in_a_copy_either(run, monkeypatch):
    (path,) = run.glob("*.esr.zst")
    copy = run / "copy.esr.zst"
    shutil.copyfile(path, copy)
    name, choice = "ppo.update_completed", {"batches": (2, 3)}
    everything, few = opened(monkeypatch, run, name), opened(monkeypatch, run, name, **choice)
    assert len(everything - few) == 3
    assert et.table(run, name, **choice)["batch_idx"].to_pylist() == [2] * 40 + [3] * 40
    assert [event.data["batch_idx"] for event in et.read(run, types=name, **choice)] == [2] * 40 + [3] * 40
    data = bytearray(path.read_bytes())
    with RecordReader(path) as reader:
        frame = next(frame for frame in reader.frames() if frame.first_seq <= 200 <= frame.last_seq)
    data[frame.offset + 30] ^= 1
    copy.write_bytes(data)
    damaged_one_aside = et.table(run, name, strict=False, **choice)
    assert damaged_one_aside["batch_idx"].to_pylist() == [2] * 40 + [3] * 40


def test_sql_sees_the_rows_that_were_chosen(run):
    pytest.importorskip("duckdb")
    answer = et.query(SQL, run, batches=(2, 3))
    assert answer.to_pylist() == [{"n": 80, "low": 2}]
