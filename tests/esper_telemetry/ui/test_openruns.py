"""Runs are opened once, in bounded number, and closed again."""

from __future__ import annotations

import pytest

from esper_telemetry.errors import RecordError
from esper_telemetry.ui.listing import FolderListing
from esper_telemetry.ui.openruns import OpenRuns
from esper_telemetry.views.panels import PANELS


@pytest.fixture
def runs(record_run, tmp_path):
    for name in ("first", "second", "third"):
        record_run(name=name)
    found = OpenRuns(FolderListing(tmp_path / "runs"), PANELS, most=2)
    yield found
    found.close()


@pytest.fixture
def keys(runs):
    return [run.key for run in runs.listing.runs()]


def test_a_run_is_read_once_for_all_its_viewers(runs, keys):
    assert runs.get(keys[0]) is runs.get(keys[0])
    assert runs.get(keys[0]) is not runs.get(keys[1])


def test_the_run_without_viewers_for_longest_makes_room(runs, keys):
    first, second = runs.get(keys[0]), runs.get(keys[1])
    runs.get(keys[0])
    third = runs.get(keys[2])
    assert not any(thread.is_alive() for thread in second.threads)
    assert all(thread.is_alive() for thread in (*first.threads, *third.threads))


def test_runs_that_are_watched_are_not_closed_for_another_one(runs, keys):
    for key in keys[:2]:
        runs.get(key).ring.listen(lambda: None)
    with pytest.raises(RecordError, match="2 runs are open and watched"):
        runs.get(keys[2])


def test_a_replay_has_a_pace_and_a_key_of_its_own(runs, keys):
    replay = runs.replay(keys[0], 50.0)
    assert runs.get(replay) is not runs.get(keys[0])
    assert runs.pace(replay).state()["speed"] == 50.0
    with pytest.raises(RecordError, match="replay is over"):
        runs.pace(keys[0])


def test_a_replay_that_is_over_is_told(runs):
    with pytest.raises(RecordError, match="replay is over"):
        runs.get("replay~gone")


def test_closing_ends_every_thread(runs, keys):
    folds = [runs.get(key) for key in keys[:2]]
    runs.close()
    assert not any(thread.is_alive() for fold in folds for thread in fold.threads)
