"""Hugging Face Trainer with the adapter: logs, evaluations, checkpoints, and `report_to`."""

from __future__ import annotations

import pytest

pytest.importorskip("transformers", exc_type=ImportError)

import torch
from transformers import Trainer, TrainingArguments
from transformers.integrations import integration_utils

import esper_telemetry as et
from esper_telemetry.integrations.hf import EsperTrainerCallback, register

pytestmark = pytest.mark.integrations


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def forward(self, x, labels=None):
        return {"loss": (self.layer(x).squeeze(-1) - labels).pow(2).mean(), "logits": self.layer(x)}


ROWS = [{"x": torch.full((4,), float(at % 3)), "labels": torch.tensor(float(at % 3))} for at in range(32)]


def train(folder, callbacks, **options):
    arguments = TrainingArguments(
        output_dir=str(folder / "out"), max_steps=8, per_device_train_batch_size=4, logging_steps=2, eval_steps=4,
        save_steps=4, eval_strategy="steps", use_cpu=True, disable_tqdm=True, label_names=["labels"],
        **{"report_to": "none", **options},
    )  # fmt: skip
    Trainer(Model(), arguments, train_dataset=ROWS, eval_dataset=ROWS[:8], callbacks=callbacks).train()


def test_a_training_is_recorded_with_its_evaluations_and_checkpoints(tmp_path):
    with et.start_run(tmp_path / "runs", name="hf") as run:
        train(tmp_path, [EsperTrainerCallback(run)])
    events = list(et.read(run.folder))
    logged = [event.data for event in events if event.type == "scalars.logged"]
    assert [data["step"] for data in logged if "loss" in data["scalars"]] == [2, 4, 6, 8]
    assert all("learning_rate" in data["scalars"] for data in logged if "loss" in data["scalars"])
    assert not any(name.startswith("eval_") for data in logged for name in data["scalars"])
    evaluations = [event.data for event in events if event.type == "eval.completed"]
    assert [data["step"] for data in evaluations] == [4, 8]
    assert evaluations[-1]["loss"] < evaluations[0]["loss"]
    assert evaluations[0]["eval_time_ms"] > 0
    saved = [event.data for event in events if event.type == "checkpoint.saved"]
    assert [data["step"] for data in saved] == [4, 8]
    assert saved[0]["path"] == str(tmp_path / "out" / "checkpoint-4")
    configured = [event.data["config_json"] for event in events if event.type == "run.configured"]
    assert '"max_steps":8' in configured[0]
    progress = [event.data for event in events if event.type == "run.progress"]
    assert (progress[-1]["done"], progress[-1]["total"]) == (8, 8)
    assert events[-1].data["outcome"] == "completed"


def test_report_to_finds_the_adapter_once_it_is_registered(tmp_path, monkeypatch):
    monkeypatch.setattr(integration_utils, "INTEGRATION_TO_CALLBACK", dict(integration_utils.INTEGRATION_TO_CALLBACK))
    with et.start_run(tmp_path / "runs", name="hf") as run:
        register(run)
        train(tmp_path, None, report_to="esper")
    assert [event.data["step"] for event in et.read(run.folder, types="eval.completed")] == [4, 8]


def test_an_exception_of_a_training_is_the_outcome_of_the_run(tmp_path):
    class Fails(EsperTrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == 3:
                raise RuntimeError("of a callback")

    with pytest.raises(RuntimeError, match="of a callback"), et.start_run(tmp_path / "runs", name="hf") as run:
        train(tmp_path, [Fails(run)])
    assert list(et.read(run.folder))[-1].data["outcome"] == "failed"
