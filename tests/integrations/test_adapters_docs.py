"""The page of the adapters is run: each of its Python blocks, in a folder of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import esper_telemetry as et

pytest.importorskip("stable_baselines3", exc_type=ImportError)

pytestmark = pytest.mark.integrations

PAGE = Path(__file__).parents[2] / "docs" / "adapters.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_of_the_page_runs_and_leaves_a_record(tmp_path, number):
    finished = subprocess.run(
        [sys.executable, "-c", BLOCKS[number]], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    records = et.read(folder)
    events = list(records)
    assert not records.warnings
    assert events[-1].data["outcome"] == "completed"
    assert len(events) > 2
