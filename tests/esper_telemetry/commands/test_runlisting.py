"""Runs in a table: `info` of several runs or of their folder, and `runs` of a folder on this machine."""

from __future__ import annotations

import json
import time

import pytest

import esper_telemetry
from esper_telemetry import events


@pytest.fixture
def runs(tmp_path):
    """A folder of three runs whose names are not in the order of their times."""
    for name, accuracy in (("z-first", 80.0), ("m-second", 90.0), ("a-third", None)):
        with esper_telemetry.start_run(tmp_path / "runs", name="table", run_id=name) as run:
            run.emit(events.ScalarLogged, name="n", value=1.0)
            if accuracy is not None:
                run.results["accuracy"] = accuracy
        time.sleep(0.01)  # three starts at three times
    return tmp_path / "runs"


@pytest.mark.parametrize("verb", ["info", "runs"])
def test_a_folder_of_runs_is_a_table_by_time(cli, runs, verb):
    finished = cli(verb, runs)
    assert finished.code == 0, finished.err
    head, *rows = finished.lines
    assert head.split() == ["run", "name", "outcome", "started", "lasted", "events", "lost", "size", "results"]
    assert [row.split()[0] for row in rows] == ["z-first", "m-second", "a-third"]
    assert rows[1].endswith("accuracy 90")
    assert "completed" in rows[0]


def test_the_json_of_both_has_a_document_for_each_run(cli, runs):
    by_run = json.loads(cli("info", "--json", runs).out)["by_run"]
    assert by_run == json.loads(cli("runs", "--json", runs).out)
    assert [(run["run_id"], run["events"], run["results"]) for run in by_run] == [
        ("z-first", 3, {"accuracy": 80.0}),
        ("m-second", 3, {"accuracy": 90.0}),
        ("a-third", 3, {}),
    ]
    assert by_run[0]["folders"] == [str(runs / "z-first")]
    assert [run["run_id"] for run in json.loads(cli("runs", "--json", "--prefix", "m", runs).out)] == ["m-second"]


def test_results_of_ranks_that_differ_are_shown_by_rank(cli, tmp_path):
    for rank in (0, 1):
        with esper_telemetry.start_run(tmp_path, name="ranks", run_id="ranks", rank=rank) as run:
            run.results["val_accuracy"] = 80.0 + rank
            run.results["test_accuracy"] = 70.0
    out = cli("info", tmp_path / "ranks").out
    assert "result     val_accuracy = r0 80, r1 81\n" in out
    assert "result     test_accuracy = 70\n" in out


def test_a_misspelt_verb_is_refused_with_what_was_meant(cli):
    finished = cli("inof")
    assert finished.code == 2
    assert "there is no verb 'inof'; did you mean info?" in finished.err
    assert "--help lists the verbs" in cli("xyzzy").err


def test_diff_shows_values_that_are_no_numbers(cli, record_run, tmp_path):
    def losses(*values):
        def fill(run) -> None:
            for value in values:
                run.bind(step=1).emit(events.ScalarLogged, name="loss", value=value)

        return record_run(fill, folder=tmp_path / str(len(values)), run_id="r")

    out = cli("diff", losses(1.0), losses(float("nan"), float("nan"))).out
    head = next(line for line in out.split("\n") if "mean A" in line)
    assert "odd A" in head
    row = next(line for line in out.split("\n") if line.endswith("scalar.logged value"))
    assert row.split()[:2] == ["1", "nan"]
    assert "2" in row.split()


def test_a_narrow_terminal_cuts_texts_and_keeps_numbers(cli, runs):
    wide = cli("info", runs)
    width = max(map(len, wide.lines))
    assert "…" not in wide.out
    cut = cli("info", runs, COLUMNS=str(width - 3))
    assert max(map(len, cut.lines)) <= width - 3
    assert "…" in cut.out
    events_and_lost = [[cell for cell in line.split() if cell.isdigit()][:2] for line in cut.lines]
    assert events_and_lost == [[], *[["3", "0"]] * 3]


@pytest.mark.parametrize("verb", ["info", "runs"])
def test_a_run_that_is_damaged_or_cannot_be_listed_is_told_by_both(cli_of_anybody, runs, verb):
    (file,) = (runs / "m-second").glob("*.esr.zst")
    file.write_bytes(file.read_bytes()[:-40])
    (runs / "a-third").chmod(0)
    finished = cli_of_anybody(verb, runs)
    (runs / "a-third").chmod(0o700)
    assert finished.code == 3
    assert [line.split()[0] for line in finished.lines[1:]] == ["z-first", "m-second"]
    assert str(file) in finished.err
    assert f"{runs / 'a-third'}: passed over: the folder cannot be listed: Permission denied" in finished.err


def test_runs_of_a_run_folder_is_that_run(cli, runs):
    finished = cli("runs", runs / "a-third")
    assert (finished.code, [line.split()[0] for line in finished.lines[1:]]) == (0, ["a-third"])
