"""Records for the tests of views: a real PPO training at its highest level, recorded once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from esper_telemetry import read
from esper_telemetry.views import PANELS, RunView

ROOT = Path(__file__).resolve().parents[3]
TRAINING = ("ppo", "--task", "synthetic", "--batches", "3", "--n-envs", "2", "--max-epochs", "12")


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """The folder of a run of the reference trainer that has seeds, masks, counters and updates."""
    folder = tmp_path_factory.mktemp("trained")
    command = [sys.executable, "-m", "esper.scripts.train", *TRAINING]
    command += ["--telemetry-level", "debug", "--telemetry-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    (run,) = folder.iterdir()
    return run


@pytest.fixture(scope="session")
def trained_events(trained) -> list:
    return list(read(trained))


@pytest.fixture
def trained_view(trained_events) -> RunView:
    view = RunView(PANELS)
    view.feed(trained_events)
    return view
