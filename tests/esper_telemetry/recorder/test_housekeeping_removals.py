"""Somebody takes a run's files away while it runs: it is said, counted and on record, and flush tells."""

from __future__ import annotations

import os
import shutil
from collections import Counter

import pytest

import esper_telemetry as et
from esper_telemetry.recordfile import list_run
from esper_telemetry.testing import FakeClock

QUICK = et.RecordOptions(flush_interval=0.02)
SCALAR = "esper_telemetry.v1.ScalarLogged"
REMOVED = (SCALAR, "record_removed")


def fill(run, count: int = 100) -> None:
    for step in range(count):
        run.emit(et.events.ScalarLogged, name="a", value=1.0, step=step)


def account(run) -> tuple[int, int, int]:
    """Return what a closed run offered, what of it can be read, and what it counts as lost."""
    stats = run.stats()
    found = sum(1 for _ in et.read(run.folder))
    assert sum(stats.recorded.values()) + stats.dropped == stats.offered
    return stats.offered, found, stats.dropped


@pytest.mark.parametrize(
    "act",
    [
        shutil.rmtree,
        lambda folder: shutil.rmtree(folder.parent),
        lambda folder: folder.rename(folder.with_name("moved")),
        lambda folder: list_run(folder)[0].unlink(),
        lambda folder: list_run(folder)[0].rename(folder / "kept.bak"),
        lambda folder: os.truncate(list_run(folder)[0], 0),
    ],
    ids=["folder removed", "root removed", "folder moved", "file removed", "file moved", "file emptied"],
)
def test_what_is_gone_is_counted_and_the_run_goes_on(tmp_path, caplog, act):
    with et.start_run(tmp_path / "runs", name="x", run_id="x", record=QUICK) as run:
        fill(run)
        assert run.flush()
        act(run.folder)
        fill(run)
        assert not run.flush(), "events that were written are not there"
        assert run.flush(), "what came since is"
        assert run.stats().drops[REMOVED] == 100
    seqs = [event.seq for event in et.read([path for path in run.paths if path.exists()])]
    assert run.stats().dropped == 101
    assert run.stats().offered - len(seqs) == 101
    assert seqs[0] == 102
    assert [record.message for record in caplog.records if "while it was being written" in record.message]
    finished = [event.data for event in et.read(run.paths[-1], types="run.finished")]
    assert finished[0]["dropped"] == 101
    assert {(drop["full_name"], drop["cause"]): drop["count"] for drop in finished[0]["drops"]}[REMOVED] == 100


def test_the_account_is_right_whenever_the_folder_goes(tmp_path):
    with et.start_run(tmp_path, name="x", record=QUICK) as run:
        for _ in range(5):
            fill(run, 40)
            run.flush()
            shutil.rmtree(run.folder)
            fill(run, 3)
    offered, found, dropped = account(run)
    assert offered == found + dropped
    assert dropped >= 5 * 40


def test_a_folder_that_goes_just_before_the_end_is_in_the_last_event(tmp_path):
    run = et.start_run(tmp_path, name="x", record=QUICK)
    fill(run)
    run.flush()
    shutil.rmtree(run.folder)
    run.close()
    (finished,) = et.read(run.folder, types="run.finished")
    assert finished.data["dropped"] == 101
    offered, found, dropped = account(run)
    assert offered == found + dropped


def test_it_is_noticed_without_an_event_and_without_a_flush(tmp_path, caplog):
    clock = FakeClock()
    with et.start_run(tmp_path, name="x", record=QUICK, clock=clock) as run:
        shutil.rmtree(run.folder)
        while not run.stats().dropped:
            pass
        assert "Recording goes on in a new segment" in caplog.text


def test_it_is_said_once(tmp_path, caplog):
    with et.start_run(tmp_path, name="x", record=QUICK) as run:
        for _ in range(3):
            fill(run, 5)
            run.flush()
            shutil.rmtree(run.folder)
            run.flush()
    assert sum("while it was being written" in record.message for record in caplog.records) == 1


def test_a_root_that_became_a_file_neither_stops_training_nor_hides_the_loss(tmp_path, caplog):
    options = et.RecordOptions(flush_interval=0.02, close_timeout=0.5)
    run = et.start_run(tmp_path / "runs", name="x", record=options)
    fill(run)
    run.flush()
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "runs").touch()
    fill(run)
    assert not run.flush(0.1)
    run.close()
    drops = Counter()
    for (_, cause), count in run.stats().drops.items():
        drops[cause] += count
    assert drops["record_removed"] == 101
    assert drops["shutdown"] >= 100
    assert "cannot make the run folder" in caplog.text


def test_closed_segments_are_counted_too_and_retention_is_not(tmp_path):
    options = et.RecordOptions(flush_interval=0.02, segment_bytes=7_000)
    with et.start_run(tmp_path / "a", name="x", record=options) as run:
        for _ in range(10):
            run.emit(et.events.ScalarLogged, name=os.urandom(2000).hex())
            run.flush()
        assert len(run.paths) > 2
        run.paths[1].unlink()
    offered, found, dropped = account(run)
    assert offered == found + dropped
    assert dropped > 0
    options = et.RecordOptions(flush_interval=0.02, segment_bytes=7_000, keep_bytes=60_000)
    with et.start_run(tmp_path / "b", name="x", record=options) as run:
        for _ in range(20):
            run.emit(et.events.ScalarLogged, name=os.urandom(2000).hex())
            run.flush()
    assert run.stats().dropped == 0
