"""`rm`: local runs go by name or by age, one that is being written stays, and so does what is not of the run."""

from __future__ import annotations

import os
import time

import pytest

import esper_telemetry
from esper_telemetry import events
from esper_telemetry.recordfile.lock import is_locked
from tests.esper_telemetry.collectorprocess import CollectorProcess, wait_until

DAY = 86_400


@pytest.fixture
def runs(record_run, tmp_path):
    """A folder of four runs, last written 40, 20, 10 and 0 days ago."""
    for name, days in (("a", 40), ("b", 20), ("c", 10), ("d", 0)):
        folder = record_run(lambda run: None, folder=tmp_path / "runs", run_id=name)
        then = time.time() - days * DAY
        for file in folder.iterdir():
            os.utime(file, (then, then))
    return tmp_path / "runs"


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        (["--older-than", "15d"], ["c", "d"]),
        (["--keep", "1"], ["d"]),
        (["--older-than", "15d", "--keep", "3"], ["b", "c", "d"]),
        (["--older-than", "60d"], ["a", "b", "c", "d"]),
    ],
    ids=["older", "keep", "both", "none"],
)
def test_a_rule_deletes_what_it_no_longer_keeps(cli, runs, rule, left):
    would = cli("rm", runs, *rule, "--dry-run")
    assert would.code == 0
    assert names(runs) == ["a", "b", "c", "d"]
    assert len(would.lines) == 4 - len(left)
    finished = cli("rm", runs, *rule, "--yes")
    assert finished.code == 0, finished.err
    assert names(runs) == left


def test_named_runs_are_deleted_and_a_folder_of_runs_is_refused(cli, runs):
    refused = cli("rm", runs, "--yes")
    assert refused.code == 1
    assert "it holds 4 runs: name one, or give --older-than or --keep" in refused.err
    assert cli("rm", runs / "a", runs / "b", "--yes").code == 0
    assert names(runs) == ["c", "d"]


def test_without_a_terminal_nothing_goes_unasked(cli, runs):
    finished = cli("rm", runs / "a", stdin=b"y\n")
    assert finished.code == 2
    assert names(runs) == ["a", "b", "c", "d"]


def test_a_run_that_is_being_written_stays(cli, runs):
    with esper_telemetry.start_run(runs, name="e", run_id="e") as run:
        run.emit(events.ScalarLogged, name="n", value=1.0)
        run.flush()
        finished = cli("rm", runs, "--keep", "0", "--yes")
        assert finished.code == 3
        assert "it is being written, and stays" in finished.err
        assert names(runs) == ["e"]
    assert len(list(esper_telemetry.read(runs / "e"))) == 3


def test_a_run_of_a_running_collector_stays_and_the_way_to_delete_it_is_named(cli, runs, tmp_path):
    collector = CollectorProcess(tmp_path / "collected").start()
    try:
        assert cli("push", runs / "a", collector.address).code == 0
        stored = collector.folder / "a"
        wait_until(lambda: not is_locked(collector.segments("a")[0]))  # no stream writes it any more
        for arguments in ((stored,), (collector.folder, "--keep", "0")):
            refused = cli("rm", *arguments, "--yes")
            assert refused.code == 3
            assert "esper-telemetry runs delete a HOST:PORT" in refused.err
        assert len(collector.segments("a")) == 1
    finally:
        collector.kill()
    assert cli("rm", stored, "--yes").code == 0
    assert not stored.exists()


def test_files_that_are_not_of_the_run_stay(cli, runs):
    (runs / "a" / "checkpoint.pt").write_bytes(b"mine")
    (runs / "a" / "artifacts").mkdir()
    finished = cli("rm", runs / "a", "--yes")
    assert finished.code == 3
    assert "the folder stays, as it holds checkpoint.pt" in finished.err
    assert names(runs / "a") == ["checkpoint.pt"]


def test_the_rest_of_a_deletion_that_was_killed_goes_with_the_next_one(cli, runs):
    (runs / ".deleted-x-1").mkdir()
    (runs / ".deleted-x-1" / "left.esr.zst").write_bytes(b"half")
    assert cli("rm", runs, "--older-than", "90d").code == 0
    assert names(runs) == ["a", "b", "c", "d"]


@pytest.fixture
def restored():
    """Folders and files whose modes are given back, so that they can be removed."""
    taken = []

    def take(path):
        taken.append((path, path.stat().st_mode))
        path.chmod(0)

    yield take
    for path, mode in taken:
        path.chmod(mode)


def test_a_run_that_may_not_be_looked_into_stays_and_the_others_go(cli_of_anybody, runs, restored):
    restored(runs / "a")
    restored(next((runs / "b").glob("*.esr.zst")))
    finished = cli_of_anybody("rm", runs, "--keep", "1", "--yes")
    assert finished.code == 3
    assert f"{runs / 'a'}: it cannot be listed, and stays" in finished.err
    assert f"{runs / 'b'}: whether it is being written is unknown" in finished.err
    assert names(runs) == ["a", "b", "d"]


def test_what_is_left_of_a_deletion_is_named_until_it_is_gone(cli_of_anybody, runs):
    (runs / "a").chmod(0o500)
    first = cli_of_anybody("rm", runs / "a", "--yes")
    (left,) = [path for path in runs.iterdir() if path.name.startswith(".deleted-")]
    assert (first.code, names(left) != []) == (3, True)
    assert str(left) in first.err
    second = cli_of_anybody("rm", runs, "--keep", "3", "--yes")
    assert second.code == 3
    assert f"{left}: the rest of a run that was deleted cannot be removed" in second.err
    left.chmod(0o700)
    third = cli_of_anybody("rm", runs, "--keep", "3", "--yes")
    assert (third.code, third.err.strip()) == (0, "nothing is to be deleted")
    assert names(runs) == ["b", "c", "d"]


def test_a_link_to_nothing_keeps_no_run(cli, runs):
    (runs / "a" / "gone.esr.zst").symlink_to("/nowhere")
    assert cli("rm", runs / "a", "--yes").code == 0
    assert names(runs) == ["b", "c", "d"]
