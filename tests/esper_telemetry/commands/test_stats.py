"""`stats`: what takes the bytes, and what the values are."""

from __future__ import annotations

import json

import esper_telemetry
from esper_telemetry.v1 import steps_pb2, training_pb2


def test_types_and_fields_are_listed_with_counts_and_bytes(cli, record_run):
    finished = cli("stats", record_run())
    assert finished.code == 0
    assert not finished.err
    rows = [line.split() for line in finished.lines]
    assert ["events", "bytes", "share", "each", "per", "s", "type"] in rows
    assert any(row[0] == "2" and row[-1] == "scalar.logged" for row in rows if row)
    assert ["value", "2", "18", "0.1", "0.175", "0.25"] in rows
    assert ["action_counts.wait", "1", "7", "7", "7", "7", "{action}"] in rows


def test_a_mean_of_keys_and_a_sum_of_gauges_mean_nothing(cli, record_run):
    rows = [line.split() for line in cli("stats", record_run()).lines]
    assert ["env_id", "1", "0", "0"] in rows
    assert ["val_accuracy", "1", "9", "0", "0", "0", "%"] in rows


def test_json_is_one_document(cli, record_run):
    found = {entry["name"]: entry for entry in json.loads(cli("stats", "--json", record_run()).out)}
    assert found["scalar.logged"]["events"] == 2
    assert found["scalar.logged"]["fields"]["value"] == {
        "events": 2, "bytes": 18, "values": 2, "unit": "1", "kind": "gauge", "non_finite": 0,
        "min": 0.1, "mean": 0.175, "max": 0.25, "sum": 0.35,
    }  # fmt: skip
    assert found["epoch.completed"]["fields"]["train_loss"]["non_finite"] == 1
    assert found["seed.culled"]["fields"]["from_stage"]["texts"] == {"TRAINING": 1}


def test_the_choice_of_events_holds_here_too(cli, record_run):
    found = json.loads(cli("stats", "--json", "--no-fields", "--type", "seed.*", record_run()).out)
    assert {entry["name"] for entry in found} == {"seed.germinated", "seed.culled"}
    assert all("fields" not in entry for entry in found)


def test_ranks_are_counted_together_or_apart(cli, tmp_path):
    for rank in range(2):
        with esper_telemetry.start_run(tmp_path, name="r", run_id="r", rank=rank) as run:
            batch = run.bind(batch_idx=1, episodes_completed=1)
            batch.emit(training_pb2.ActionDistribution, action_counts={"wait": 3 + rank}, head="op")
    options = ("stats", "--json", "--type", "policy.*", tmp_path / "r")
    (together,) = json.loads(cli(*options).out)
    assert together["fields"]["action_counts.wait"]["sum"] == 7
    apart = json.loads(cli(*options, "--by-rank").out)
    assert {entry["rank"]: entry["fields"]["action_counts.wait"]["sum"] for entry in apart} == {0: 3, 1: 4}


def test_damage_is_passed_over_and_exits_3(cli, write_record, scalars):
    path = write_record(scalars(5), scalars(5), close=False)
    path.write_bytes(path.read_bytes()[:-3])
    finished = cli("stats", path)
    assert finished.code == 3
    assert "file ends inside frame 2" in finished.err
    assert "     5  " in finished.out


def emit_steps(run) -> None:
    """Emit blocks whose rows are partly no decisions, with and without times of their own."""
    columns = [{"field": "op", "indices": bytes([0, 1, 1, 0]), "labels": ["wait", "cull"], "numbers": [1, 3]}]
    here = run.bind(batch_idx=7, device="cpu")
    plain = {"row_type": "esper.v1.ActionTaken", "steps": 2, "envs": 2, "columns": columns}
    here.emit(steps_pb2.StepBlock(**plain))
    first = 1_795_386_808_000_000_000
    here.emit(steps_pb2.StepBlock(**plain, valid=b"\x07", first_time_unix_nano=first, time_offsets_us=[0, 2_000_000]))


def test_without_fields_the_counts_are_those_with_them(cli, record_run):
    for fill in ((), (emit_steps,)):
        folder = record_run(*fill)
        whole, envelopes = (json.loads(cli("stats", "--json", *more, folder).out) for more in ((), ("--no-fields",)))
        for document in whole:
            assert document.pop("fields") is not None
        assert envelopes == whole
    assert [one["events"] for one in envelopes if one["name"] == "policy.action_taken"] == [7]
    kept = json.loads(cli("stats", "--json", "--no-fields", "--type", "policy.*", folder).out)
    assert [(one["name"], one["events"]) for one in kept] == [("policy.action_taken", 7)]


def test_without_fields_no_payload_is_parsed(cli, write_record, scalars):
    path = write_record([(training_pb2.ScalarLogged(name="n", value=1.0), {})])
    broken = cli("stats", "--no-fields", path)
    assert broken.code == 0
    assert "scalar.logged" in broken.out
    assert "value" not in broken.out


def test_runs_are_kept_apart_when_asked_for(cli, record_run, tmp_path):
    folders = [
        record_run(lambda run: run.emit(training_pb2.ScalarLogged, name="n", value=1.0), folder=tmp_path, run_id=name)
        for name in ("one", "two")
    ]
    together = json.loads(cli("stats", "--json", "--no-fields", *folders).out)
    assert {one["name"]: one["events"] for one in together}["scalar.logged"] == 2
    apart = json.loads(cli("stats", "--json", "--no-fields", "--by-run", *folders).out)
    assert {(one["run"], one["name"]): one["events"] for one in apart if one["name"] == "scalar.logged"} == {
        ("one", "scalar.logged"): 1,
        ("two", "scalar.logged"): 1,
    }
    text = cli("stats", "--by-run", *folders)
    assert text.lines[0].split()[0] == "run"
    assert "scalar.logged (two)" in text.lines
