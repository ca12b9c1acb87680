"""The guides that need a framework are run: their blocks, in this order, print what the pages show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integrations

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("guide", "package"),
    [
        ("stable-baselines3", "stable_baselines3"),
        ("lightning", "lightning"),
        ("hugging-face", "transformers"),
        ("torchrl", "torchrl"),
    ],
)
def test_a_guide_runs_and_prints_what_it_shows(guide, package):
    pytest.importorskip(package, exc_type=ImportError)
    command = [sys.executable, ROOT / "tools/docs/page_blocks.py", ROOT / f"docs/guides/{guide}.md"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, f"{finished.stdout}{finished.stderr}"
