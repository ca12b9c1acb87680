"""The ppo command: what cannot be used is one line and exit code 2, with nothing half-written."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch

import esper_telemetry
from esper.cifar10 import Images
from esper.scripts.train import build_parser, main
from esper.simic import checkpoint

SHORT = ["--task", "synthetic", "--batches", "1", "--n-envs", "2", "--max-epochs", "4"]


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def ppo(folder, *arguments):
    return main(["ppo", *SHORT, "--telemetry-dir", str(folder / "runs"), *arguments])


def events(folder):
    (run,) = (folder / "runs").iterdir()
    return list(esper_telemetry.read(run))


def refused(folder, capsys, *arguments):
    """Call the command with something it cannot use; the one line it says."""
    try:
        code = main(["ppo", *SHORT, "--telemetry-dir", str(folder / "runs"), *arguments])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert not (folder / "runs").exists()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


def test_a_run_prints_every_batch_and_what_telemetry_cost(tmp_path, capsys):
    assert ppo(tmp_path, "--batches", "2") == 0
    out = capsys.readouterr().out
    assert "batch 1/2" in out
    assert "batch 2/2" in out
    assert "1 counter read per batch, 0 dropped" in out
    assert "% of step time" in out
    assert "esper-telemetry info" in out


def test_the_record_says_how_it_was_trained_and_how_it_ended(tmp_path):
    assert ppo(tmp_path, "--slots", "mid", "--seed", "7") == 0
    first, *_, last = events(tmp_path)
    config = json.loads(first.data["config_json"])
    assert (config["task"], config["slots"], config["seed"], config["resumed_at"]) == ("synthetic", ["mid"], 7, 0)
    assert last.data["outcome"] == "completed"
    assert {"mean_return", "val_accuracy", "test_accuracy"} <= set(last.data["results"])


def test_a_flag_wins_over_the_file_and_the_file_over_the_default(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"lr": 0.01, "n_envs": 1, "hidden": 8}))
    assert ppo(tmp_path, "--config", str(path)) == 0
    updates = [event.data for event in events(tmp_path) if event.type == "ppo.update_completed"]
    assert [data["lr"] for data in updates] == [0.01]
    assert len([event for event in events(tmp_path) if event.type == "episode.completed"]) == 2


def test_a_resumed_run_continues_global_epoch(tmp_path):
    saved = tmp_path / "policy.pt"
    assert ppo(tmp_path, "--batches", "2", "--save", str(saved)) == 0
    later = tmp_path / "later"
    assert ppo(later, "--batches", "1", "--resume", str(saved), "--save", str(saved)) == 0
    batches = [event.data for event in events(later) if event.type == "batch.completed"]
    assert [(data["batch_idx"], data["episodes_completed"]) for data in batches] == [(3, 6)]
    assert {e.data["global_epoch"] for e in events(later) if e.type == "epoch.completed"} == {3}
    assert checkpoint.load(saved)["global_epoch"] == 3
    (loaded,) = [event.data for event in events(later) if event.type == "checkpoint.loaded"]
    (kept,) = [event.data for event in events(later) if event.type == "checkpoint.saved"]
    assert (loaded["batch_idx"], kept["batch_idx"]) == (2, 3)
    assert kept["sha256"] == hashlib.sha256(saved.read_bytes()).hexdigest() != loaded["sha256"]


def test_a_block_of_steps_can_be_asked_for(tmp_path):
    assert ppo(tmp_path, "--telemetry-steps", "block") == 0
    (run,) = (tmp_path / "runs").iterdir()
    types = [event.type for event in esper_telemetry.read(run, expand=False)]
    assert types.count("steps.block") == 1
    assert "policy.action_taken" not in types


def test_photographs_are_learned_by_the_same_loop(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    train = Images(rng.integers(0, 256, (300, 3, 32, 32), dtype=np.uint8), np.arange(300) % 10)
    test = Images(rng.integers(0, 256, (20, 3, 32, 32), dtype=np.uint8), np.arange(20) % 10)
    monkeypatch.setattr("esper.tasks.read_cifar10", lambda _folder: (train, test))
    monkeypatch.setattr("esper.tasks.CIFAR_VAL", 40)
    assert ppo(tmp_path, "--task", "cifar10", "--max-epochs", "3") == 0
    epochs = [event.data for event in events(tmp_path) if event.type == "epoch.completed"]
    assert len(epochs) == 6
    assert all(data["train_loss"] > 0.0 for data in epochs)


def test_an_unknown_task_is_refused(tmp_path, capsys):
    assert "invalid choice: 'mnist'" in refused(tmp_path, capsys, "--task", "mnist")


def test_missing_cifar_files_are_refused_with_where_to_get_them(tmp_path, capsys):
    said = refused(tmp_path, capsys, "--task", "cifar10", "--data-dir", str(tmp_path / "none"))
    assert "get cifar-10-python.tar.gz" in said


def test_a_corrupt_cifar_file_is_refused(tmp_path, capsys):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(b"not it")
    assert "data_batch_1 is corrupt: its MD5" in refused(
        tmp_path, capsys, "--task", "cifar10", "--data-dir", str(tmp_path)
    )


def test_an_unknown_config_key_is_refused(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"learning_rate": 0.1}')
    assert "unknown config key 'learning_rate'" in refused(tmp_path, capsys, "--config", str(tmp_path / "config.json"))


@pytest.mark.parametrize(("content", "said"), [("{", "is no JSON"), ("[1]", "holds a list"), ('{"lr": 0}', "lr is 0")])
def test_a_config_that_cannot_be_used_is_refused(tmp_path, capsys, content, said):
    (tmp_path / "config.json").write_text(content)
    assert said in refused(tmp_path, capsys, "--config", str(tmp_path / "config.json"))


def test_a_config_that_is_missing_is_refused(tmp_path, capsys):
    assert "none.json cannot be read" in refused(tmp_path, capsys, "--config", str(tmp_path / "none.json"))


def test_a_foreign_checkpoint_is_refused(tmp_path, capsys):
    (tmp_path / "foreign.pt").write_bytes(b"something else")
    assert "is no checkpoint of this trainer" in refused(tmp_path, capsys, "--resume", str(tmp_path / "foreign.pt"))


def test_the_checkpoint_of_another_training_is_refused(tmp_path, capsys):
    saved = tmp_path / "policy.pt"
    assert ppo(tmp_path / "first", "--save", str(saved)) == 0
    capsys.readouterr()
    assert "was trained with seed 1, not 2" in refused(tmp_path, capsys, "--resume", str(saved), "--seed", "2")


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("config", 7, "AttributeError"),
        ("scale", {}, "KeyError: 'count'"),
        ("policy", {"value.bias": torch.zeros(3)}, "RuntimeError: Error(s) in loading state_dict for LSTMPolicy"),
    ],
)
def test_a_checkpoint_with_a_wrong_value_is_refused(tmp_path, capsys, part, value, said):
    saved = tmp_path / "policy.pt"
    assert ppo(tmp_path / "first", "--save", str(saved)) == 0
    checkpoint.save(saved, checkpoint.load(saved) | {part: value})
    capsys.readouterr()
    assert f"policy.pt is damaged: {said}" in refused(tmp_path, capsys, "--resume", str(saved))


def test_a_place_that_cannot_be_saved_to_is_refused_before_the_training(tmp_path, capsys):
    assert "missing or cannot be written" in refused(tmp_path, capsys, "--save", str(tmp_path / "no" / "x.pt"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there_is_refused(tmp_path, capsys):
    assert "'cuda:0' cannot be used here" in refused(tmp_path, capsys, "--devices", "cpu", "cuda:0")


def test_telemetry_flags_are_those_of_the_other_loop():
    args = build_parser().parse_args(["ppo", "--telemetry-lifecycle-only"])
    assert args.telemetry_lifecycle_only is True
    assert args.telemetry_level == "normal"
