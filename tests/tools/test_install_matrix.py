"""The install matrix tries what pyproject.toml promises, and shows failures as failures."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tools.install_matrix import OLDEST, OLDEST_COLLECTOR, PROBE, Outcome, Row, last_line, page, rows

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def oldest(requirements: list[str]) -> set[str]:
    """Return a pin for the lower bound of each requirement, padded to three numbers."""
    found = (re.match(r"([\w-]+)>=([\d.]+)", requirement) for requirement in requirements)
    return {f"{bound[1]}=={'.'.join((bound[2] + '.0.0').split('.')[:3])}" for bound in found if bound}


def test_every_extra_that_users_install_has_a_row_and_a_trial():
    tried = {extra for row in rows() for extra in row.extras if row.group == "Extras"}
    assert tried == set(PROJECT["optional-dependencies"]) - {"dev", "docs"}  # what contributors need
    trials = {trial for row in rows() for trial in row.trials}
    probe = PROBE.read_text().partition("TRIALS")[2]
    assert {trial for trial in trials if not trial.startswith("import ") and f'"{trial}": ' not in probe} == set()


def test_the_oldest_rows_pin_the_lower_bounds_of_the_ranges():
    assert set(OLDEST) == oldest(PROJECT["dependencies"])
    assert set(OLDEST_COLLECTOR) == oldest(PROJECT["optional-dependencies"]["collector"])


def test_the_probe_tries_what_it_is_told_in_this_environment(tmp_path):
    said = subprocess.run(
        [sys.executable, PROBE, tmp_path, "import pyarrow", "cli", "query"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert said.stdout == "passed: record, import pyarrow, cli, query\n"


def test_the_page_shows_a_failure_a_conflict_and_what_was_not_tried():
    failed = Outcome(
        pip="installed", check="wandb 1 has requirement protobuf<6", trials="Error: a | b", python="3.11.7"
    )
    text = page({"wandb": failed, "oldest": Outcome(pip="ERROR: no matching distribution")})
    lines = {line.split()[1]: line for line in text.splitlines() if line.startswith("| ")}
    assert "wandb 1 has requirement protobuf<6" in lines["wandb"]
    assert "Error: a \\| b" in lines["wandb"]
    assert "pip: ERROR: no matching distribution" in lines["oldest"]
    assert "not tried" in lines["newest"]


def test_an_error_of_pip_is_cut_to_its_line():
    said = "Looking\nERROR: Could not find a version\nhint: try another\n"
    assert last_line(said, "ERROR") == "ERROR: Could not find a version"
    assert last_line(said) == "hint: try another"
    assert Row("Extras", "x").neighbour == ""
