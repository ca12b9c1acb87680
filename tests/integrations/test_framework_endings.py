"""How a training ends is the framework's and the user's affair: the same with and without a record, in every cell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import esper_telemetry as et

pytestmark = pytest.mark.integrations

PROGRAM = Path(__file__).parent / "frameworks" / "program.py"
FRAMEWORKS = ("lightning", "sb3", "hf", "torchrl")
NEEDS = {"lightning": "lightning", "sb3": "stable_baselines3", "hf": "transformers", "torchrl": "torchrl"}
ENDINGS = {"exception": None, "ctrl_c": signal.SIGINT, "sigterm": signal.SIGTERM}
# A process that dies by the signal's default action writes no end; a handler of its own unwinds `with` blocks.
OUTCOMES = {"exception": {"failed"}, "ctrl_c": {"interrupted"}, "sigterm": {"interrupted", None}}


def train(framework: str, recorded: str, ending: str, runs: Path) -> tuple[int, list[str], list[str]]:
    """Run the program and end it; return its exit status, what it printed and the last line of its error output."""
    command = [sys.executable, str(PROGRAM), framework, recorded, str(runs), ending]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if lines[-1] == "training" and ENDINGS[ending] is not None:
                time.sleep(0.1)  # somewhere inside a step
                process.send_signal(ENDINGS[ending])
        errors = process.stderr.read().strip().splitlines()
        return process.wait(), lines, errors[-1:]


def last_outcome(runs: Path) -> str | None:
    """Return the outcome that the record ends with; None where it has no end."""
    (folder,) = runs.iterdir()
    last = list(et.read(folder))[-1]
    return last.data["outcome"] if last.type == "run.finished" else None


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_recorded_training_ends_as_one_that_is_not_recorded(framework, ending, tmp_path):
    pytest.importorskip(NEEDS[framework], exc_type=ImportError)
    without = train(framework, "without", ending, tmp_path / "without")
    recorded = train(framework, "with", ending, tmp_path / "with")
    assert recorded == without
    assert "training" in recorded[1]
    assert last_outcome(tmp_path / "with") in OUTCOMES[ending]
