"""The comparison of policies: paired by seed, with intervals that follow Student."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import learning

ROOT = Path(__file__).resolve().parents[2]


def test_an_interval_is_that_of_students_t():
    # mean 2, deviation 1, three seeds: 4.303 / sqrt(3) to either side
    assert learning.interval([1.0, 2.0, 3.0]) == "+2.00 [-0.48, +4.48]"


def test_one_seed_has_no_interval():
    assert learning.interval([1.5]) == "+1.50 (one seed: no interval)"


def test_differences_are_taken_seed_by_seed():
    one = [{"last": 10.0}, {"last": 20.0}]
    other = [{"last": 9.0}, {"last": 19.0}]
    assert learning.paired(one, other, "last") == "+1.00 [+1.00, +1.00]"


@pytest.mark.slow
def test_every_policy_is_trained_and_compared():
    command = [sys.executable, "tools/learning.py", "--task", "synthetic", "--batches", "1", "--seeds", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.findall(r"^(ppo|random|wait) +1 .* yes$", done.stdout, re.MULTILINE) == ["ppo", "random", "wait"]
    for compared in ("ppo - random", "ppo - no growth"):
        assert f"val accuracy, {compared}, points:" in done.stdout
