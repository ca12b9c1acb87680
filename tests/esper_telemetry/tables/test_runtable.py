"""A run is one row, whatever it is made of: attempts, ranks, children; and a killed one is told from one that ended."""

from __future__ import annotations

import os
import subprocess
import sys

import esper_telemetry as et
from esper_telemetry.decode import survey
from esper_telemetry.tables.runtable import run_table

KILLED = """
import esper_telemetry as et, os, sys
run = et.start_run(sys.argv[1], name="killed", run_id="a", config={"lr": 1})
run.emit(et.events.ScalarLogged, name="loss", value=1.0)
run.flush()
os.kill(os.getpid(), 9)
"""


def kill(folder) -> None:
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("SLURM", "TORCH"))}
    subprocess.run([sys.executable, "-c", KILLED, folder], timeout=60, check=False, env=environment)


def test_a_killed_run_is_killed_until_it_is_resumed(tmp_path):
    kill(tmp_path)
    row = run_table(survey(tmp_path / "a")).to_pydict()
    assert row["outcome"] == ["killed"]
    assert row["duration_s"] == [None]
    assert row["config"] == ['{"lr": 1}']
    with et.start_run(tmp_path, name="killed", resume="a") as run:
        run.results["loss"] = 0.5
    row = run_table(survey(tmp_path / "a")).to_pydict()
    assert row["outcome"] == ["completed"]
    assert row["attempts"] == [2]
    assert row["results"] == [[("loss", 0.5)]]


def test_ranks_are_one_run_with_the_results_of_the_lowest(tmp_path):
    for rank in (1, 0):
        with et.start_run(tmp_path, name="r", run_id="a", rank=rank) as run:
            run.results["rank"] = rank
    row = run_table(survey(tmp_path / "a")).to_pydict()
    assert row["ranks"] == [2]
    assert row["results"] == [[("rank", 0.0)]]
    assert row["folder"] == [str(tmp_path / "a")]


def test_runs_are_in_the_order_of_their_starts(tmp_path):
    for name in ("z", "a", "m"):
        with et.start_run(tmp_path, name=name, run_id=name):
            pass
    assert run_table(survey(tmp_path / "*"))["run"].to_pylist() == ["z", "a", "m"]
    assert len(run_table(survey(None))) == 0
