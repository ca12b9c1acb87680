"""Runs are found in folders of folders, each under a key, and none is reached by a path that a browser makes up."""

from __future__ import annotations

import shutil

import pytest

import esper_telemetry
from esper_telemetry.errors import NotARecordError, RecordError
from esper_telemetry.ui.listing import FolderListing


def test_runs_of_projects_and_days_are_found_the_newest_first(record_run, tmp_path):
    first = record_run(name="first", folder=tmp_path / "all" / "digits" / "monday", tags={"kind": "control"})
    second = record_run(name="second", folder=tmp_path / "all", config={"lr": 0.1, "optim": {"name": "adam"}})
    runs = FolderListing(tmp_path / "all").runs()
    assert [run.name for run in runs] == ["second", "first"]
    assert [run.place for run in runs] == [str(second), str(first)]
    assert runs[1].tags == {"kind": "control"}
    assert runs[0].settings == {"lr": 0.1, "optim.name": "adam"}
    assert {(run.outcome, run.missing, run.attempts, run.problem) for run in runs} == {("completed", 0, 1, "")}
    assert runs[0].events == sum(1 for _ in esper_telemetry.read(second))
    assert len({run.key for run in runs}) == 2
    assert not any("/" in run.key for run in runs)


def test_a_run_folder_and_a_file_are_listings_of_one_run(record_run):
    folder = record_run(name="only")
    (file,) = folder.glob("*.esr.zst")
    for place in (folder, file):
        (run,) = FolderListing(place).runs()
        assert (run.name, run.place) == ("only", str(place))
        assert FolderListing(place).origin(run.key).name == str(place)


def test_results_are_listed(record_run):
    def fill(run) -> None:
        run.results["accuracy"] = 0.5

    (run,) = FolderListing(record_run(fill)).runs()
    assert run.results == {"accuracy": 0.5}


def test_a_run_that_cannot_be_read_is_listed_with_its_problem(record_run, tmp_path):
    record_run(name="whole")
    broken = tmp_path / "runs" / "broken"
    broken.mkdir()
    (broken / "main-r0-0001.esr.zst").write_bytes(b"no record")
    runs = {run.key: run for run in FolderListing(tmp_path / "runs").runs()}
    assert len(runs) == 2
    assert "broken" in runs["broken"].problem
    assert runs["broken"].events is None


def test_a_new_run_and_one_that_is_gone_are_noticed(record_run, tmp_path):
    first = record_run(name="first")
    listing = FolderListing(tmp_path / "runs")
    assert [run.name for run in listing.runs()] == ["first"]
    record_run(name="second")
    assert [run.name for run in listing.runs()] == ["second", "first"]
    shutil.rmtree(first)
    assert [run.name for run in listing.runs()] == ["second"]


def test_a_run_that_goes_on_is_running_and_then_has_ended(tmp_path):
    listing = None
    with esper_telemetry.start_run(tmp_path / "runs", name="on") as run:
        run.emit(esper_telemetry.events.ScalarLogged, name="a", value=1.0)
        run.flush()
        listing = FolderListing(tmp_path / "runs")
        assert [facts.outcome for facts in listing.runs()] == ["running"]
    assert [facts.outcome for facts in listing.runs()] == ["completed"]


@pytest.mark.parametrize("key", ["", "..", "../runs", "nothing", "~"])
def test_a_key_that_is_not_listed_opens_nothing(key, record_run, tmp_path):
    record_run()
    with pytest.raises(RecordError, match="there is no run"):
        FolderListing(tmp_path / "runs").origin(key)


def test_a_place_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(NotARecordError, match="no such file or folder"):
        FolderListing(tmp_path / "nowhere")
