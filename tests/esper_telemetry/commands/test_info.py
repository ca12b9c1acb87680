"""`info`: the facts of a record at a glance."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import esper_telemetry
from esper_telemetry.testing import running_collector
from esper_telemetry.v1 import training_pb2


def test_a_finished_run_at_a_glance(cli, record_run):
    folder = record_run(name="first", tags={"group": "a"})
    finished = cli("info", folder)
    assert finished.code == 0
    assert not finished.err
    facts = dict(line.split(None, 1) for line in finished.out.splitlines() if line and not line.startswith(" "))
    assert facts["run"] == folder.name
    assert (facts["name"], facts["tags"], facts["outcome"], facts["level"]) == (
        "first", "group=a", "completed", "normal",
    )  # fmt: skip
    assert facts["lost"] == "0 of 10 events"
    assert facts["files"] == "1 segment, closed in good order"
    assert "     2  scalar.logged\n" in finished.out
    assert "     1  seed.culled\n" in finished.out


def test_the_configuration_is_shown_in_a_line_as_it_was_merged(cli, record_run):
    folder = record_run(
        lambda run: run.update_config({"lr": 0.2, "net": {"sizes": [1, 2]}}), config={"lr": 0.1, "api_key": "x"}
    )
    line = next(line for line in cli("info", folder).out.splitlines() if line.startswith("config"))
    assert line.split(None, 1)[1].startswith("api_key=[redacted], lr=0.2, net.sizes=[1,2] (3 values, sha256 ")
    assert line.endswith(", 1 redacted)")
    (stream,) = json.loads(cli("info", "--json", folder).out)["streams"]
    assert stream["configuration"]["values"] == {"lr": 0.2, "net": {"sizes": [1, 2]}, "api_key": "[redacted]"}


def test_a_long_configuration_is_shown_as_far_as_it_fits(cli, record_run):
    folder = record_run(config={f"name{number}": "x" * 20 for number in range(50)})
    line = next(line for line in cli("info", folder).out.splitlines() if line.startswith("config"))
    assert ", ... (50 values, sha256 " in line
    assert len(line) < 160


def test_a_run_that_nobody_closed_says_so(cli, record_run):
    folder = record_run(lambda run: run.close("abandoned", reason="closed at exit"))
    assert "outcome    abandoned (closed at exit)\n" in cli("info", folder).out


def test_json_holds_the_same_as_one_document(cli, record_run):
    folder = record_run()
    document = json.loads(cli("info", "--json", folder).out)
    assert document["runs"] == [folder.name]
    assert document["events_by_type"]["scalar.logged"] == 2
    assert document["streams"][0]["outcome"] == "completed"
    assert document["streams"][0]["finished"]["dropped"] == 0
    assert document["streams"][0]["first_time"].endswith("Z")
    assert document["warnings"] == []


def test_several_ranks_are_listed(cli, tmp_path):
    for rank in range(2):
        with esper_telemetry.start_run(tmp_path, name="r", run_id="r", rank=rank) as run:
            run.emit(training_pb2.ScalarLogged, name="n", value=1.0)
    finished = cli("info", tmp_path / "r")
    rows = [line.split() for line in finished.out.splitlines()]
    assert ["main", "0", "completed", "3", "0", "1"] in [row[:6] for row in rows]
    assert ["main", "1", "completed", "3", "0", "1"] in [row[:6] for row in rows]
    assert "6 in " in finished.out


def test_a_run_that_failed_says_of_what(cli, tmp_path):
    with pytest.raises(KeyError), esper_telemetry.start_run(tmp_path, name="x", run_id="x"):
        raise KeyError("gone")
    assert "outcome    failed: KeyError: 'gone'\n" in cli("info", tmp_path / "x").out


def test_an_error_without_a_message_is_named_alone(cli, tmp_path):
    with pytest.raises(KeyboardInterrupt), esper_telemetry.start_run(tmp_path, name="x", run_id="x"):
        raise KeyboardInterrupt
    assert "outcome    interrupted: KeyboardInterrupt\n" in cli("info", tmp_path / "x").out


def test_a_killed_run_says_so_and_what_is_not_known(cli, write_record, scalars):
    finished = cli("info", write_record(scalars(5), close=False))
    assert finished.code == 3
    assert "no end: its writer is gone, and what came after sequence number 5 is unknown" in finished.err
    assert "outcome    killed\n" in finished.out
    assert "not closed: the writer is gone" in finished.out
    assert "events by type: not known before the record is closed" in finished.out


def test_a_record_of_a_collector_states_that_its_types_are_not_counted(cli, record_run, tmp_path):
    with running_collector(tmp_path / "collected") as address:
        folder = record_run()
        assert cli("push", folder, address).code == 0
    collected = tmp_path / "collected" / folder.name
    finished = cli("info", collected)
    assert finished.code == 0
    assert "closed in good order" in finished.out
    assert "events by type: not counted by the collector that stored it; `esper-telemetry stats` counts" in finished.out
    assert json.loads(cli("info", "--json", collected).out)["events_by_type"] is None


def test_a_cut_file_and_dropped_events_exit_3(cli, write_record, scalars):
    path = write_record(scalars(5), scalars(5), shed=1, close=False)
    path.write_bytes(path.read_bytes()[:-1])
    finished = cli("info", path)
    assert finished.code == 3
    assert "file ends inside frame 2" in finished.err
    assert "1 sequence numbers have no event" in finished.err


def test_attempts_are_told_one_by_one_and_together(cli, tmp_path):
    program = (
        "import esper_telemetry as et, os, sys\n"
        "run = et.start_run(sys.argv[1], name='r', run_id='exp')\n"
        "run.flush()\nos.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path], timeout=60, check=False)
    esper_telemetry.start_run(tmp_path, name="r", resume="exp", resumed_from={"step": 500}).close("failed")
    with esper_telemetry.start_run(tmp_path, name="r", resume="exp") as run:
        run.results["accuracy"] = 0.5
    finished = cli("info", tmp_path / "exp")
    facts = [line.split(None, 1) for line in finished.out.splitlines() if line and not line.startswith(" ")]
    assert [text for name, text in facts if name == "outcome"] == ["killed, failed, completed"]
    attempts = [text for name, text in facts if name == "attempt"]
    assert [text.split(" after ")[0] for text in attempts] == ["1: killed", "2: failed", "3: completed"]
    assert attempts[1].endswith("from step 500 on")
    assert [text for name, text in facts if name == "result"] == ["accuracy = 0.5"]
    streams = json.loads(cli("info", "--json", tmp_path / "exp").out)["streams"]
    assert [(one["attempt"], one["outcome"]) for one in streams] == [(1, "killed"), (2, "failed"), (3, "completed")]


def test_children_stand_beside_the_run_and_have_no_part_in_its_outcome(cli, record_run, in_child):
    def fill(run):
        in_child(lambda: (run.emit(training_pb2.ScalarLogged, name="x"), run.close("failed")))
        in_child(lambda: (run.emit(training_pb2.ScalarLogged, name="x"), run.flush()))

    folder = record_run(fill)
    finished = cli("info", folder)
    facts = dict(line.split(None, 1) for line in finished.out.splitlines() if line and not line.startswith(" "))
    assert facts["outcome"] == "completed"
    assert facts["children"] in {"2 recorded: 1 failed, 1 cut off", "2 recorded: 1 cut off, 1 failed"}
    assert facts["files"] == "3 segments, closed in good order"
    assert finished.code == 3
    assert "ended without an end event" in finished.err
