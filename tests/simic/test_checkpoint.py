"""Checkpoints: whole or not at all, and refused when they are not ours."""

import pickle
import zipfile

import pytest
import torch

from esper.simic import checkpoint
from esper.simic.checkpoint import CheckpointError
from esper.simic.config import PpoConfig

CONFIG = PpoConfig().to_mapping()
STATE = {
    "task": "synthetic",
    "config": CONFIG,
    "features": 7,
    "policy": {"weight": torch.arange(3.0)},
    "optimizer": {},
    "generator": torch.Generator().get_state(),
    "global_epoch": 4,
    "episodes_completed": 16,
    "scale": {"count": 1, "mean": 0.0, "squares": 0.0},
    "trend": {"accuracies": [], "rolling": [], "trend": None},
    "updates": 3,
}


class Trap:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


def test_what_was_saved_is_loaded(tmp_path):
    path = tmp_path / "run.pt"
    checkpoint.save(path, STATE)
    loaded = checkpoint.load(path)
    assert torch.equal(loaded["policy"]["weight"], torch.arange(3.0))
    assert loaded["global_epoch"] == 4
    assert [item.name for item in tmp_path.iterdir()] == ["run.pt"]


def test_saving_again_replaces_the_file(tmp_path):
    path = tmp_path / "run.pt"
    checkpoint.save(path, STATE)
    checkpoint.save(path, {**STATE, "global_epoch": 5})
    assert checkpoint.load(path)["global_epoch"] == 5


def test_a_failing_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    checkpoint.save(path, STATE)

    def full_disk(_file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("esper.simic.checkpoint.os.fsync", full_disk)
    with pytest.raises(CheckpointError, match="No space left on device"):
        checkpoint.save(path, {**STATE, "global_epoch": 5})
    monkeypatch.undo()
    assert checkpoint.load(path)["global_epoch"] == 4
    assert [item.name for item in tmp_path.iterdir()] == ["run.pt"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.pt: the checkpoint cannot be read \(No such file"):
        checkpoint.load(tmp_path / "none.pt")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 half a zip"])
def test_foreign_bytes_are_refused(tmp_path, content):
    path = tmp_path / "foreign.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is no checkpoint of this trainer"):
        checkpoint.load(path)


def test_a_cut_checkpoint_is_refused(tmp_path):
    path = tmp_path / "cut.pt"
    checkpoint.save(path, STATE)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match="is no checkpoint of this trainer"):
        checkpoint.load(path)


def test_a_changed_byte_is_found_and_its_part_named(tmp_path):
    path = tmp_path / "changed.pt"
    checkpoint.save(path, STATE)
    raw = bytearray(path.read_bytes())
    raw[raw.index(torch.arange(3.0).numpy().tobytes()) + 6] ^= 0x40
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match=r"is damaged: its part .*data/\d fails its checksum"):
        checkpoint.load(path)


def test_another_programs_checkpoint_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"model": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match="use a file written with --save"):
        checkpoint.load(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_file_that_would_run_code_runs_none(tmp_path):
    mark = tmp_path / "mark"
    torch.save({"format": checkpoint.FORMAT, "trap": Trap(mark)}, tmp_path / "trap.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Trap(mark)))
    for name in ("trap.pt", "plain.pt"):
        with pytest.raises(CheckpointError):
            checkpoint.load(tmp_path / name)
    assert not mark.exists()


def test_a_later_version_is_refused(tmp_path):
    torch.save({**STATE, "format": checkpoint.FORMAT, "version": 2}, tmp_path / "later.pt")
    with pytest.raises(CheckpointError, match="has version 2, this trainer reads 1"):
        checkpoint.load(tmp_path / "later.pt")


def test_a_checkpoint_that_lacks_something_says_what(tmp_path):
    partial = {key: value for key, value in STATE.items() if key != "optimizer"}
    checkpoint.save(tmp_path / "partial.pt", partial)
    with pytest.raises(CheckpointError, match="it lacks optimizer"):
        checkpoint.load(tmp_path / "partial.pt")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"task": "digits"}, "task"),
        ({"features": 8}, "features"),
        ({"config": {**CONFIG, "seed": 9}}, "seed"),
        ({"config": {**CONFIG, "hidden": 9}}, "hidden"),
        ({"config": {**CONFIG, "slots": ["mid"]}}, "slots"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(change, name):
    now = {"task": "synthetic", "features": 7, "config": CONFIG, **change}
    with pytest.raises(CheckpointError, match=f"was trained with {name} "):
        checkpoint.check_fits(STATE, **now)


def test_what_may_change_may_change():
    changed = {**CONFIG, "batches": 99, "lr": 1.0}
    checkpoint.check_fits(STATE, task="synthetic", config=changed, features=7)
    assert {name for name, value in changed.items() if CONFIG[name] != value} == {"batches", "lr"}


def test_a_folder_that_is_missing_is_found_before_the_training(tmp_path):
    checkpoint.check_writable(tmp_path / "new.pt")
    with pytest.raises(CheckpointError, match="missing or cannot be written"):
        checkpoint.check_writable(tmp_path / "no" / "new.pt")
    with pytest.raises(CheckpointError, match="is a folder"):
        checkpoint.check_writable(tmp_path)


def test_a_checkpoint_is_a_zip_that_torch_reads(tmp_path):
    checkpoint.save(tmp_path / "run.pt", STATE)
    assert zipfile.is_zipfile(tmp_path / "run.pt")
