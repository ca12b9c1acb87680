"""Lightning with the adapter: metrics, hyperparameters, checkpoints and the end, as real fits give them."""

from __future__ import annotations

import copy
import pickle

import pytest

pytest.importorskip("lightning", exc_type=ImportError)

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

import esper_telemetry as et
from esper_telemetry.integrations.lightning import EsperLogger

pytestmark = pytest.mark.integrations


class Model(LightningModule):
    def __init__(self, width: int = 4, fails_at: int = -1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(width, 1)
        self.fails_at = fails_at

    def training_step(self, batch, batch_idx):
        if self.global_step == self.fails_at:
            raise RuntimeError("of the training step")
        loss = self.layer(batch[0]).pow(2).mean()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.layer(batch[0]).pow(2).mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-2)


def data():
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(16, 4)), batch_size=4)


def fit(run, folder, model=None, **options):
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", logger=EsperLogger(run), log_every_n_steps=1, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, **options,
    )  # fmt: skip
    trainer.fit(model or Model(), data(), data())
    return trainer


def test_a_fit_and_a_validation_are_one_run_with_all_that_was_logged(tmp_path):
    best = ModelCheckpoint(monitor="val_loss", save_top_k=1)
    with et.start_run(tmp_path, name="lightning") as run:
        trainer = fit(run, tmp_path, callbacks=[best])
        trainer.validate(trainer.model, data(), verbose=False)
    events = list(et.read(run.folder))
    logged = [event.data for event in events if event.type == "scalars.logged"]
    losses = [(data["step"], data["scalars"]["loss"]) for data in logged if "loss" in data["scalars"]]
    assert [step for step, _ in losses] == list(range(8))
    assert losses[-1][1] < losses[0][1]
    assert {data["global_epoch"] for data in logged} == {0, 1, 2}
    assert sum("val_loss" in data["scalars"] for data in logged) == 3  # two epochs, and the validation after the fit
    configured = [event.data for event in events if event.type == "run.configured"]
    assert '"width":4' in configured[0]["config_json"]
    saved = [event.data for event in events if event.type == "checkpoint.saved"]
    assert saved[-1]["path"] == best.best_model_path
    assert saved[-1]["metric_value"] == pytest.approx(float(best.best_model_score))
    assert (saved[-1]["metric"], saved[-1]["is_best"]) == ("val_loss", True)
    assert events[-1].data["outcome"] == "completed"
    assert events[-1].data.get("dropped", 0) == 0


def test_an_exception_of_a_fit_is_the_outcome_of_the_run(tmp_path):
    with pytest.raises(RuntimeError, match="of the training step"), et.start_run(tmp_path, name="lightning") as run:
        fit(run, tmp_path, Model(fails_at=5))
    finished = list(et.read(run.folder))[-1].data
    assert (finished["outcome"], finished["error_type"]) == ("failed", "RuntimeError")


def test_a_logger_can_be_copied_and_pickled_with_its_trainer(tmp_path):
    with et.start_run(tmp_path, name="lightning") as run:
        logger = EsperLogger(run)
        for other in (copy.deepcopy(logger), pickle.loads(pickle.dumps(logger))):  # noqa: S301 - our own bytes
            assert other.experiment is run
            assert (other.name, other.version) == ("esper", run.run_id)
