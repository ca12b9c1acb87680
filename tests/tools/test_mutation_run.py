"""Mutants are tried in forks and in new processes, with the tests that reach them; the checkout stays as it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tools.mutation_run import in_fork

ROOT = Path(__file__).resolve().parents[2]
LEVELS = ROOT / "esper_telemetry" / "schema" / "levels.py"
SHOWN = ROOT / "esper_telemetry" / "schema" / "shown.py"


def tried(tmp_path, source, *arguments) -> list[tuple[str, bool]]:
    """Return the outcome of each mutant, and whether a function holds it."""
    told = tmp_path / "outcomes.jsonl"
    told.unlink(missing_ok=True)
    command = [sys.executable, "tools/mutate.py", source, "--seed", "1", "--json", told, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=600)
    outcomes = [json.loads(line) for line in told.read_text().splitlines()]
    assert done.stdout.splitlines()[-1].count(" ") >= 1
    return [(each["outcome"], bool(each["function"])) for each in outcomes]


def keep(tmp_path) -> Path:
    """Return the outcomes of the last run in another file."""
    return (tmp_path / "outcomes.jsonl").rename(tmp_path / "before.jsonl")


def test_mutants_are_killed_by_the_tests_that_notice_them_and_not_reached_by_others(tmp_path):
    before = LEVELS.read_bytes()
    assert {found for found, _ in tried(tmp_path, LEVELS, "--mutants", "3")} == {"killed"}
    others = tried(tmp_path, LEVELS, "--mutants", "3", "--tests", "tests/esper_telemetry/test_clock.py")
    assert {found for found, _ in others} == {"not reached"}
    assert LEVELS.read_bytes() == before
    again = tried(
        tmp_path,
        LEVELS,
        "--mutants",
        "3",
        "--again",
        keep(tmp_path),
        "--tests",
        "tests/esper_telemetry/schema/test_levels.py",
    )
    assert {found for found, _ in again} == {"killed"}, "those that were not reached are tried with other tests"


def test_constants_are_tried_in_a_new_process(tmp_path):
    found = tried(tmp_path, SHOWN, "--mutants", "500")
    assert {inside for _, inside in found} == {True, False}
    assert ("killed", False) in found
    assert ("killed", True) in found


def test_a_run_ends_as_what_it_was():
    assert in_fork(lambda: 0, 0.0) == "survived"
    assert in_fork(lambda: 1, 0.0) == "killed"
    assert in_fork(lambda: 1 // 0, 0.0) == "killed"


def test_a_run_that_never_ends_is_ended():
    def endless() -> int:
        while True:
            pass

    assert in_fork(endless, -1.8) == "slow"
