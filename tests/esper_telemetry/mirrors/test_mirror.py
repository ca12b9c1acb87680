"""A mirror gets the scalars of a run while it goes on; a slow, failing or missing one costs the trainer nothing."""

from __future__ import annotations

import math
import subprocess
import sys
import threading

import pytest

import esper_telemetry as et
from esper_telemetry import events
from esper_telemetry.errors import ConfigError, MissingExtraError
from esper_telemetry.mirrors import MirroredRun, checked_mirrors


class Kept:
    """A mirror that keeps what it gets."""

    def __init__(self) -> None:
        self.run: MirroredRun | None = None
        self.scalars = []
        self.threads = set()
        self.closed = 0

    def open(self, run):
        self.run = run

    def write(self, scalars):
        self.threads.add(threading.current_thread())
        self.scalars += scalars

    def close(self):
        self.closed += 1

    def shown(self):
        return [(one.name, one.value, one.step) for one in self.scalars]


def emit_all(run) -> None:
    run.emit(events.ScalarLogged, name="loss", value=0.25, step=3)
    run.bind(step=9).emit(events.ScalarLogged, name="loss", value=0.5)
    run.log({"a": 1.0, "b": {"c": 2.0}}, step=4)
    at = run.bind(batch_idx=7)
    at.emit(events.PpoUpdateCompleted, entropy=1.5, lr=1e-3, skipped=False, heads=[{"head": "op", "entropy": 0.5}])
    at.emit(events.ActionDistribution, head="op", action_counts={"wait": 3}, total=3)
    run.bind(env_id=2, global_epoch=5).emit(events.EpochCompleted, val_loss=0.75)
    run.log_text("note", "no scalar")


def test_a_mirror_gets_every_scalar_with_its_step(tmp_path):
    mirror = Kept()
    with et.start_run(tmp_path, name="m", run_id="m", mirrors=[mirror]) as run:
        emit_all(run)
    assert mirror.shown() == [
        ("loss", 0.25, 3),
        ("loss", 0.5, 9),
        ("a", 1.0, 4),
        ("b/c", 2.0, 4),
        ("ppo.update_completed/entropy", 1.5, 7),
        ("ppo.update_completed/lr", 1e-3, 7),
        ("policy.action_distribution/action_counts/wait", 3.0, 7),
        ("policy.action_distribution/total", 3.0, 7),
        ("epoch.completed/val_loss/env_2", 0.75, 5),
    ]
    assert mirror.run == MirroredRun("m", "m", run.folder, 0)
    assert mirror.closed == 1
    assert threading.main_thread() not in mirror.threads
    assert [one.time_unix_nano for one in mirror.scalars[:2]] == [
        event.time_unix_nano for event in et.read(run.folder, types="scalar.logged")
    ]
    assert run.stats().sink_losses == {"Kept": 0}


def test_nan_reaches_a_mirror(tmp_path):
    mirror = Kept()
    with et.start_run(tmp_path, name="m", mirrors=[mirror]) as run:
        run.emit(events.ScalarLogged, name="loss", value=float("nan"), step=1)
    assert math.isnan(mirror.scalars[0].value)


@pytest.mark.parametrize("at", ["open", "write", "close"])
def test_a_mirror_that_fails_is_counted_and_the_record_is_whole(tmp_path, at):
    class Fails(Kept):
        def fail(self, *_):
            raise OSError("no dashboard")

    mirror = Fails()
    setattr(mirror, at, mirror.fail)
    with et.start_run(tmp_path, name="m", mirrors=[mirror]) as run:
        emit_all(run)
    assert len(list(et.read(run.folder))) == 9
    stats = run.stats()
    assert (stats.sink_losses["Fails"] > 0) is (at != "close")
    assert stats.dropped == 0


def test_a_mirror_that_hangs_holds_neither_the_trainer_nor_the_end(tmp_path):
    release = threading.Event()

    class Hangs(Kept):
        def write(self, scalars):
            release.wait(60)

    options = et.RecordOptions(close_timeout=1.0)
    with et.start_run(tmp_path, name="m", mirrors=[Hangs(), Kept()], record=options) as run:
        emit_all(run)
    assert len(list(et.read(run.folder))) == 9
    assert run.stats().sink_losses["Hangs"] > 0
    assert run.stats().sink_losses["Kept"] == 0
    release.set()


def test_an_unknown_mirror_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="there is no mirror 'tensorbord'; use tensorboard, wandb"):
        et.start_run(tmp_path, name="m", mirrors=["tensorbord"])
    with pytest.raises(ConfigError, match=r"give a list, such as mirrors=\['wandb'\]"):
        et.start_run(tmp_path, name="m", mirrors="wandb")
    with pytest.raises(ConfigError, match="needs the methods open"):
        et.start_run(tmp_path, name="m", mirrors=[object()])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_names_its_pip_install(monkeypatch, name):
    monkeypatch.setattr("esper_telemetry.mirrors.mirror.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'esper-telemetry\[{name}\]'"):
        checked_mirrors([name])


def test_a_run_without_mirrors_imports_none(tmp_path):
    script = f"""
import sys
import esper_telemetry as et
et.start_run({str(tmp_path)!r}, name="m").close()
print([name for name in sys.modules if "mirrors" in name])
"""
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"
