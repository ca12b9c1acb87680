"""What an assistant is told of runs: bounded, with what was not measured as null, and of runs below one folder only."""

from __future__ import annotations

import json
import math

import pytest

from esper_telemetry import events
from esper_telemetry.agents.runreader import RunReader
from esper_telemetry.errors import NotARecordError, QueryError, RecordError


def updates(run) -> None:
    for batch in range(1, 6):
        entropy = {} if batch == 3 else {"entropy": math.nan if batch == 4 else 0.0}
        run.bind(batch_idx=batch, episodes_completed=batch).emit(events.PpoUpdateCompleted, lr=0.1, **entropy)
    run.results["val_accuracy"] = 0.5


@pytest.fixture
def reader(record_run, tmp_path) -> RunReader:
    record_run(updates, name="first", tags={"task": "digits"})
    record_run(updates, name="second")
    return RunReader(tmp_path / "runs")


def test_runs_are_listed_searched_and_what_is_left_out_is_counted(reader):
    listed = reader.list_runs(limit=1)
    assert (len(listed["runs"]), listed["more"]) == (1, 1)
    (run,) = reader.list_runs("DIGITS")["runs"]
    assert (run["name"], run["outcome"], run["results"]) == ("first", "completed", {"val_accuracy": 0.5})


def test_a_summary_has_the_verdict_and_why_a_panel_is_absent(reader):
    summary = reader.run_summary("first")
    assert summary["missing_events"] == 0
    assert summary["verdict"]["text"]
    assert "NaN" in json.dumps(summary["findings"])
    absent = {panel["id"]: panel["absent"] for panel in summary["panels"]}
    assert absent["ppo"] == ""
    assert absent["seeds"].startswith("no event of seed.germinated")


def test_a_panel_shows_no_zero_for_what_was_not_measured(reader):
    shown = reader.run_panel("first", "ppo")
    (entropy,) = [one for one in shown["figures"] if one["title"] == "entropy"]
    points = [(x, y, joined) for x, y, _, joined in entropy["lines"][0]["points"]]
    assert points == [(1, 0.0, False), (2, 0.0, True), (4, "NaN", False), (5, 0.0, True)]
    json.dumps(shown, allow_nan=False)


def test_a_change_of_the_record_is_seen(reader, record_run, tmp_path):
    assert reader.run_summary("second")["events"] == reader.list_runs("second")["runs"][0]["events"]
    record_run(updates, name="third")
    assert reader.run_summary("third")["name"] == "third"


def test_events_are_given_page_by_page_without_a_hole(reader):
    seqs, first = [], 1
    while first is not None:
        page = reader.run_events("first", types=["ppo.*"], first_seq=first, limit=2)
        seqs += [event["seq"] for event in page["events"]]
        first = page["next_seq"]
        assert page["more"] is (first is not None)
    assert seqs == [event["seq"] for event in reader.run_events("first", types=["ppo.*"])["events"]]
    assert len(seqs) == 5


def test_the_schema_lists_types_and_explains_one(reader):
    assert "seed.culled" in reader.run_schema("first")["types"]
    (told,) = reader.run_schema("first", "seed.culled")["types"].values()
    assert any(field["comment"] for field in told["message"]["fields"])
    with pytest.raises(RecordError, match="no type of this record matches 'nope'"):
        reader.run_schema("first", "nope")


def test_sql_reads_and_does_nothing_else(reader, tmp_path):
    answer = reader.query_runs('SELECT batch_idx, entropy FROM "ppo.update_completed" ORDER BY 1', ["first"], limit=3)
    assert answer["rows"] == [[1, 0.0], [2, 0.0], [3, None]]
    assert answer["rows_in_all"] == 5
    assert {"view", "column"} <= set(reader.query_runs("", ["first"])["columns"])
    for refused in (f"COPY runs TO '{tmp_path}/out.csv'", "SELECT * FROM read_csv('/etc/passwd')"):
        with pytest.raises(QueryError):
            reader.query_runs(refused, ["first"])


@pytest.mark.parametrize("name", ["nope", "../runs", "/etc/passwd", ""])
def test_only_a_run_of_the_list_is_read(reader, name):
    with pytest.raises(RecordError, match="list_runs gives the keys"):
        reader.run_summary(name)


def test_a_name_of_two_runs_is_refused_and_a_place_that_is_not_there_too(reader, record_run, tmp_path):
    record_run(updates, name="first")
    with pytest.raises(RecordError, match="2 runs are called 'first'"):
        reader.run_summary("first")
    with pytest.raises(NotARecordError):
        RunReader(tmp_path / "nowhere")
