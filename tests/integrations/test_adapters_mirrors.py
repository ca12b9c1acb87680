"""The mirrors of real dashboards, read back by their own readers: TensorBoard and Weights & Biases."""

from __future__ import annotations

import math

import pytest

import esper_telemetry as et
from esper_telemetry.mirrors.to_tensorboard import FOLDER
from esper_telemetry.mirrors.to_wandb import STEP

pytestmark = pytest.mark.integrations

STEPS = 300
BLOCK = 32_768


def record(folder, mirror):
    patient = et.RecordOptions(close_timeout=300.0)  # wandb takes seconds to begin, more on a loaded machine
    with et.start_run(folder, name="mirrored", run_id="mirrored", mirrors=[mirror], record=patient) as run:
        for step in range(STEPS):
            run.emit(et.events.ScalarLogged, name="loss", value=1.0 / (step + 1), step=step)
        run.bind(batch_idx=2).emit(et.events.PpoUpdateCompleted, entropy=1.5)
        run.emit(et.events.ScalarLogged, name="loss", value=float("nan"), step=10)  # goes back, and is no number
    assert run.stats().sink_losses[next(iter(run.stats().sink_losses))] == 0
    assert len(list(et.read(run.folder))) == STEPS + 4
    return run.folder


def test_tensorboard_shows_what_was_recorded(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = record(tmp_path, "tensorboard")
    shown = EventAccumulator(str(folder / FOLDER), size_guidance={"scalars": 0})
    shown.Reload()
    assert set(shown.Tags()["scalars"]) == {"loss", "ppo.update_completed/entropy"}
    losses = shown.Scalars("loss")
    assert [one.step for one in losses] == [*range(STEPS), 10]
    assert [one.value for one in losses[:STEPS]] == pytest.approx([1.0 / (step + 1) for step in range(STEPS)])
    assert math.isnan(losses[-1].value)
    (entropy,) = shown.Scalars("ppo.update_completed/entropy")
    assert (entropy.step, entropy.value) == (2, 1.5)
    (first, *_) = et.read(folder, types="scalar.logged")
    assert losses[0].wall_time == pytest.approx(first.time_unix_nano / 1e9, abs=1e-3)


def logged_records(file: bytes):
    """Yield the records of a LevelDB log, which a .wandb file is behind seven bytes: blocks of 32 KiB, cut records."""
    at, whole = 7, b""
    while at + 7 <= len(file):
        if BLOCK - at % BLOCK < 7:  # no room for a header: the next block
            at += BLOCK - at % BLOCK
            continue
        size, kind = int.from_bytes(file[at + 4 : at + 6], "little"), file[at + 6]
        whole += file[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # full, or the last part
            yield whole
            whole = b""


def test_wandb_gets_every_value_with_its_step_also_where_it_goes_back(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    folder = record(tmp_path, "wandb")
    (stored,) = folder.glob("wandb/offline-run-*/*.wandb")
    rows = []
    for data in logged_records(stored.read_bytes()):
        entry = wandb_internal_pb2.Record.FromString(data)
        if entry.WhichOneof("record_type") == "history":
            rows.append({item.key or item.nested_key[0]: item.value_json for item in entry.history.item})
    losses = [(int(row[STEP]), row["loss"]) for row in rows if "loss" in row]
    assert [step for step, _ in losses] == [*range(STEPS), 10]
    assert float(losses[1][1]) == pytest.approx(0.5)
    assert "nan" in losses[-1][1].lower()
