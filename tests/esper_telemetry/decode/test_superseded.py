"""What a later attempt did again is left out of those before it, and only that."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import esper_telemetry as et
from esper_telemetry.decode import summarize
from esper_telemetry.decode.superseded import several_attempts, superseded
from esper_telemetry.decode.survey import survey

KILLED = """
import esper_telemetry as et, os, sys
rank, first, last = map(int, sys.argv[2:5])
run = et.start_run(sys.argv[1], name="r", run_id="exp", rank=rank)
for step in range(first, last):
    run.emit(et.events.ScalarLogged, name="loss", value=1.0, step=step)
    if step % 10 == 9:
        run.emit(et.events.ScalarLogged, name="evaluation", value=2.0)
run.flush()
os.kill(os.getpid(), 9)
"""


def die(folder, first: int, last: int, rank: int = 0) -> None:
    """Record an attempt that is killed after step `last - 1`."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("SLURM", "TORCH"))}
    command = [sys.executable, "-c", KILLED, folder, *map(str, (rank, first, last))]
    subprocess.run(command, timeout=60, check=False, env=environment, stderr=subprocess.DEVNULL)


def go_on(folder, first: int, last: int, rank: int = 0, **options) -> None:
    options.setdefault("resumed_from", {"step": first})
    with et.start_run(folder, name="r", resume="exp", rank=rank, **options) as run:
        for step in range(first, last):
            run.emit(et.events.ScalarLogged, name="loss", value=3.0, step=step)


def steps(records) -> list[int]:
    return [event.data["step"] for event in records if event.data.get("name") == "loss"]


@pytest.fixture
def resumed(tmp_path):
    """The folder of a run that died at step 59 and was resumed from step 50."""
    die(tmp_path, 0, 60)
    go_on(tmp_path, 50, 80)
    return tmp_path / "exp"


def test_every_event_says_which_attempt_it_belongs_to(resumed):
    found = {(event.attempt, event.data["step"]) for event in et.read(resumed) if "step" in event.data}
    assert found == {(1, step) for step in range(60)} | {(2, step) for step in range(50, 80)}


def test_what_was_done_again_is_there_once(resumed):
    records = et.read(resumed, latest=True)
    found = list(records)
    assert steps(found) == list(range(80))
    assert [event.attempt for event in found if event.data.get("step") in (49, 50)] == [1, 2]
    assert any(
        "left out after sequence number" in text and "done again from step 50 on" in text for text in records.notes
    )


def test_events_that_say_no_step_go_with_those_around_them(resumed):
    found = [event for event in et.read(resumed, latest=True) if event.data.get("name") == "evaluation"]
    assert len(found) == 4, "the one behind step 49 was emitted after the last event below the resumed step"
    assert len([event for event in et.read(resumed) if event.data.get("name") == "evaluation"]) == 6


def test_without_being_asked_nothing_is_left_out_and_it_is_said(resumed):
    records = et.read(resumed)
    assert len(steps(records)) == 90
    assert [text for text in records.notes if "2 attempts" in text]
    assert several_attempts(records.segments)


def test_a_choice_of_events_changes_nothing_of_what_is_left_out(resumed):
    finished = [event.attempt for event in et.read(resumed, types="run.*", latest=True)]
    assert finished == [1, 2, 2, 2], "started, started, resumed, finished"
    assert steps(et.read(resumed, types="scalar.logged", first_seq=45, latest=True))[:5] == [40, 41, 42, 43, 44]


def test_a_third_attempt_takes_back_from_both_before(tmp_path):
    die(tmp_path, 0, 60)
    go_on(tmp_path, 50, 80)
    go_on(tmp_path, 20, 30)
    found = list(et.read(tmp_path / "exp", latest=True))
    assert steps(found) == list(range(30))
    assert {event.attempt for event in found} == {1, 3}


def test_each_rank_has_its_own_place(tmp_path):
    for rank, last in enumerate((60, 40)):
        die(tmp_path, 0, last, rank)
    for rank in range(2):
        go_on(tmp_path, 30, 50, rank)
    found = list(et.read(tmp_path / "exp", latest=True))
    for rank in range(2):
        assert steps(event for event in found if event.rank == rank) == list(range(50))


def test_a_rank_that_did_not_come_back_is_taken_back_to_where_the_others_went_on(tmp_path):
    for rank in range(2):
        die(tmp_path, 0, 60, rank)
    go_on(tmp_path, 30, 50)
    found = list(et.read(tmp_path / "exp", latest=True))
    assert steps(event for event in found if event.rank == 1) == list(range(30))


def test_without_a_place_nothing_is_left_out_and_that_is_a_warning(tmp_path):
    die(tmp_path, 0, 20)
    go_on(tmp_path, 10, 30, resumed_from=None)
    records = et.read(tmp_path / "exp", latest=True)
    assert len(steps(records)) == 40
    assert [text for text in records.warnings if "attempt 2 does not state where it went on" in text]


def test_a_place_that_no_event_tells_is_a_warning(tmp_path):
    die(tmp_path, 0, 20)
    go_on(tmp_path, 10, 30, resumed_from={"episode": 3})
    records = et.read(tmp_path / "exp", latest=True)
    assert len(steps(records)) == 40
    assert [text for text in records.warnings if "no event tells its episode; nothing is left out" in text]


def test_from_the_very_beginning_everything_is_done_again(tmp_path):
    die(tmp_path, 0, 20)
    go_on(tmp_path, 0, 10)
    found = list(et.read(tmp_path / "exp", latest=True))
    assert {event.attempt for event in found} == {2}
    assert steps(found) == list(range(10))


def test_the_place_may_stand_in_the_context(tmp_path):
    with et.start_run(tmp_path, name="r", run_id="exp") as run:
        for batch in range(1, 11):
            run.bind(batch_idx=batch).emit(et.events.ScalarLogged, name="loss", value=1.0)
    with et.start_run(tmp_path, name="r", resume="exp", resumed_from={"batch_idx": 5, "episode": 9}):
        pass
    found = et.read(tmp_path / "exp", latest=True, types="scalar.logged")
    assert [event.data["batch_idx"] for event in found] == [1, 2, 3, 4]


def test_rows_of_a_block_are_taken_back_one_by_one(tmp_path):
    block = {
        "row_type": et.events.ScalarLogged.DESCRIPTOR.full_name, "steps": 6, "envs": 1,
        "context": [{"field": "step", "values": range(6)}],
        "columns": [{"field": "value", "doubles": bytes(8 * 6)}],
    }  # fmt: skip
    with et.start_run(tmp_path, name="r", run_id="exp", strict=True) as run:
        run.bind(batch_idx=1).emit(et.events.StepBlock(**block))
    with et.start_run(tmp_path, name="r", resume="exp", resumed_from={"step": 3}):
        pass
    rows = list(et.read(tmp_path / "exp", types="scalar.logged", latest=True))
    assert [row.position for row in rows] == [(2, 0), (2, 1), (2, 2)]
    assert [row.data["step"] for row in rows] == [0, 1, 2]
    blocks = list(et.read(tmp_path / "exp", types="step*", latest=True, expand=False))
    assert len(blocks) == 1, "a block that is kept in part is kept"


def test_children_belong_to_the_attempt_of_their_parent(tmp_path, in_child):
    def emit(run, first: int, last: int) -> None:
        for step in range(first, last):
            run.emit(et.events.ScalarLogged, name="loss", value=1.0, step=step)
        run.flush()

    with et.start_run(tmp_path, name="r", run_id="exp") as run:
        in_child(lambda: emit(run, 0, 10))
        in_child(lambda: (run.emit(et.events.ScalarLogged, name="loaded", value=1.0), run.flush()))
        emit(run, 0, 10)
    with et.start_run(tmp_path, name="r", resume="exp", resumed_from={"step": 5}) as run:
        in_child(lambda: emit(run, 5, 12))
    records = et.read(tmp_path / "exp", latest=True)
    found = list(records)
    assert sorted(steps(found)) == sorted([*range(5), *range(12)])
    assert sum(event.data.get("name") == "loaded" for event in found) == 1
    assert {event.attempt for event in found if event.data.get("step", 0) >= 5} == {2}
    assert not [text for text in records.warnings if "no event tells" in text]
    assert [text for text in records.notes if "no event tells its step" in text]


def test_runs_beside_each_other_do_not_take_back_from_one_another(tmp_path):
    die(tmp_path / "a", 0, 20)
    go_on(tmp_path / "a", 10, 15)
    with et.start_run(tmp_path / "b", name="other", run_id="other") as run:
        for step in range(20):
            run.emit(et.events.ScalarLogged, name="loss", value=1.0, step=step)
    found = list(et.read([tmp_path / "a" / "exp", tmp_path / "b" / "other"], latest=True))
    assert steps(event for event in found if event.run_id == "other") == list(range(20))
    assert steps(event for event in found if event.run_id == "exp") == list(range(15))


def test_a_run_without_a_resume_is_not_looked_into(tmp_path):
    die(tmp_path, 0, 10)
    assert superseded(survey(tmp_path / "exp").places) == ({}, [], [])
    assert several_attempts(survey(tmp_path / "exp").places) == []


def test_streams_stand_in_the_order_of_attempts_whatever_their_random_ids_are(tmp_path):
    for _ in range(4):
        die(tmp_path, 0, 1)
    summary = summarize(tmp_path / "exp")
    assert [stream.attempt for stream in summary.streams] == [1, 2, 3, 4]
    begun = [stream.first_time for stream in summary.streams]
    assert begun == sorted(begun)


def test_a_summary_says_where_each_attempt_went_on(resumed):
    first, second = summarize(resumed).streams
    assert (first.outcome, first.attempt, first.resumed) == ("killed", 1, {})
    assert (second.outcome, second.attempt) == ("completed", 2)
    assert second.resumed == {"attempt": 2, "source": "resume", "from_step": 50}
