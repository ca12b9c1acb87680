"""Losses as a measurement: every number that was given out is there, or is told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import esper_telemetry
from esper_telemetry import RecordOptions, read
from esper_telemetry.decode import summarize
from esper_telemetry.recordfile import merge
from esper_telemetry.v1 import run_pb2, training_pb2

SMALL = RecordOptions(segment_bytes=6_000, frame_bytes=1_000, compact=False)


def record(folder, *, count=3_000, record=SMALL, **options):
    """Record a run of several segments; return their paths in order."""
    with esper_telemetry.start_run(folder, name="l", run_id="l", record=record, **options) as run:
        for number in range(count):
            run.emit(training_pb2.ScalarLogged, name=f"n{number * 7919 % 1000}", value=number**0.5)
            if number % 100 == 0:
                run.flush()
    return sorted(run.folder.iterdir())


def measured(path):
    """Return numbers read, missing, warnings and the words of the summary, which agree."""
    records = read(path)
    seqs = [event.seq for event in records]
    (stream,) = summarize(path).streams
    assert (stream.missing, stream.events) == (records.missing, len(seqs))
    assert list(records.warnings) == summarize(path).warnings
    return seqs, records.missing, list(records.warnings), stream.losses


@pytest.mark.parametrize("which", [0, 1, -1], ids=["first", "middle", "last"])
def test_a_segment_that_is_gone_is_missing_to_the_last_number(tmp_path, which):
    paths = record(tmp_path)
    assert len(paths) >= 4
    gone = {event.seq for event in read(paths[which])}
    paths[which].unlink()
    seqs, missing, warnings, words = measured(tmp_path / "l")
    if which == -1:
        # Nobody says how many there were, and that is what is said.
        assert missing == 0
        assert f"{max(seqs):,} is unknown" in words
        assert any("no end: run.finished is not here" in warning for warning in warnings)
    else:
        assert missing == len(gone)
        assert f"numbers {min(gone):,} to {max(gone):,} are missing" in warnings[0]
        assert f"{len(gone):,} without a cause" in words


def test_a_complete_run_lost_nothing_and_says_so(tmp_path):
    record(tmp_path)
    seqs, missing, warnings, words = measured(tmp_path / "l")
    assert (len(seqs), missing, warnings) == (3_002, 0, [])
    assert words == "0 of 3,002 events"


def test_losses_with_a_cause_stand_beside_those_without_one(write_record, scalars, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    finished = run_pb2.RunFinished(
        outcome="RUN_OUTCOME_COMPLETED",
        offered=31,
        drops=[{"full_name": "x.Y", "cause": "DROP_CAUSE_BUFFER_FULL", "count": 7}],
    )
    write_record(scalars(9), scalars(9), [(finished, {})], shed=4, path=folder / "a.esr.zst")
    _, missing, warnings, words = measured(folder)
    assert missing == 12
    assert words == "12 of 31 events: buffer_full 7, 5 without a cause"
    assert "12 sequence numbers have no event: buffer_full 7, 5 without a cause" in warnings[0]


def test_a_killed_run_is_explained_by_the_reports_it_wrote(write_record, scalars):
    report = run_pb2.DropReport(
        drops=[{"full_name": "x.Y", "cause": "DROP_CAUSE_TOO_LARGE", "count": 3}], total_dropped=3
    )
    path = write_record(scalars(5), [(report, {})], scalars(5), shed=1, close=False)
    _, missing, warnings, words = measured(path)
    assert missing == 3
    assert "too_large 3" in words
    assert "what came after sequence number 14 is unknown" in words
    assert any("no end: its writer is gone" in warning for warning in warnings)


def test_what_the_end_counts_and_is_not_here_is_missing(write_record, scalars):
    finished = run_pb2.RunFinished(outcome="RUN_OUTCOME_COMPLETED", offered=20)
    _, missing, warnings, _ = measured(write_record(scalars(9), [(finished, {})]))
    assert missing == 10
    assert "numbers 11 to 20 are missing: run.finished counts them" in warnings[0]


def test_retention_is_no_loss_but_is_told(tmp_path):
    options = RecordOptions(segment_bytes=6_000, frame_bytes=1_000, compact=False, keep_bytes=14_000)
    record(tmp_path, record=options)
    records = read(tmp_path / "l")
    seqs = [event.seq for event in records]
    assert seqs == list(range(seqs[0], 3_003))
    assert seqs[0] > 1
    assert (records.missing, list(records.warnings)) == (0, [])
    assert f"numbers 1 to {seqs[0] - 1:,} are not here: retention" in records.notes[0]
    (stream,) = summarize(tmp_path / "l").streams
    assert stream.pruned == seqs[0] - 1
    pruned = f"sequence numbers 1 to {seqs[0] - 1:,} were deleted by retention"
    assert stream.losses == f"0 of {len(seqs):,} events; {pruned}"


def test_a_segment_named_by_itself_is_not_asked_for_the_others(tmp_path):
    paths = record(tmp_path)
    records = read(paths[1])
    assert len(list(records)) > 50
    assert (records.missing, list(records.warnings)) == (0, [])


def test_a_run_that_is_being_written_misses_nothing_yet(tmp_path):
    run = esper_telemetry.start_run(tmp_path, name="l", run_id="l")
    run.flush()
    _, missing, warnings, words = measured(tmp_path / "l")
    assert (missing, warnings, words) == (0, [], "0 of 1 event so far")
    run.close()


def test_a_killed_process_leaves_a_record_without_an_end(tmp_path):
    code = f"""
        import os, signal, esper_telemetry as et
        run = et.start_run({str(tmp_path)!r}, name="k", run_id="k")
        run.emit(et.events.ScalarLogged, name="loss", value=1.0, step=1)
        run.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False, env=os.environ)
    seqs, missing, warnings, words = measured(tmp_path / "k")
    assert (seqs, missing) == ([1, 2], 0)
    (warning,) = warnings
    assert "no end: its writer is gone, and what came after sequence number 2 is unknown" in warning
    assert words == "0 of 2 events; what came after sequence number 2 is unknown"


def test_a_child_without_an_end_is_in_doubt_and_the_run_is_not(tmp_path, in_child):
    with esper_telemetry.start_run(tmp_path, name="x", record=RecordOptions(flush_interval=0.5)) as run:
        in_child(lambda: (run.emit(training_pb2.ScalarLogged, name="ended"), run.close()))
        in_child(lambda: (run.emit(training_pb2.ScalarLogged, name="cut off"), run.flush()))  # it leaves by os._exit
    record = read(run.folder)
    assert len(list(record)) == 2 + 2 + 1
    (warning,) = record.warnings
    assert (
        "ended without an end event after sequence number 1: it may have lost what it emitted in its last 0.5 s"
        in warning
    )
    summary = summarize(run.folder)
    assert [stream.outcome for stream in summary.streams if not stream.parent] == ["completed"]
    assert sorted(stream.outcome for stream in summary.streams if stream.parent) == ["cut off", "ended"]
    assert summary.warnings == [warning]


def test_a_child_that_is_at_work_is_in_no_doubt(tmp_path):
    with esper_telemetry.start_run(tmp_path, name="x") as run:
        (wait, done), (at_work, begun) = os.pipe(), os.pipe()
        child = os.fork()
        if not child:
            run.emit(training_pb2.ScalarLogged, name="at work")
            run.flush()
            os.write(begun, b"x")
            os.read(wait, 1)
            os._exit(0)
        os.read(at_work, 1)
        summary = summarize(run.folder)
        os.write(done, b"x")
        os.waitpid(child, 0)
    assert [stream.outcome for stream in summary.streams] == ["running", "running"]
    assert summary.warnings == []


def test_events_of_children_that_have_no_stream_are_losses_with_a_cause(tmp_path, in_child):
    with esper_telemetry.start_run(tmp_path, name="x", record=RecordOptions(children="count")) as run:
        in_child(lambda: ([run.emit(training_pb2.ScalarLogged, name="x") for _ in range(7)], run.close()))
    (stream,) = summarize(run.folder).streams
    assert (stream.outcome, stream.missing, stream.causes) == ("completed", 7, {"in_child": 7})


def test_the_same_numbers_in_other_segments_are_counted_once_whichever_file_is_fuller(tmp_path):
    """As where the copy that a collector made lies beside the run: cut into segments in another way."""
    paths = record(tmp_path)
    folder = tmp_path / "both"
    folder.mkdir()
    shutil.copy(paths[0], folder)
    last = shutil.copy(paths[-1], folder)
    merge(paths[:-1], folder / "merged.esr.zst")
    seqs, missing, _, words = measured(folder)
    assert (seqs, missing) == (list(range(1, 3_003)), 0)
    assert words == "0 of 3,002 events"
    Path(last).unlink()
    assert measured(folder)[1] == 0
    assert "is unknown" in measured(folder)[3]
