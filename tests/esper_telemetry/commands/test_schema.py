"""`schema`: the event reference of anybody's record."""

from __future__ import annotations

import json

from esper.v1 import seed_pb2


def test_text_has_policy_units_ranges_and_comments(cli, record_run):
    finished = cli("schema", "--type", "epoch.completed", record_run())
    assert finished.code == 0
    assert finished.lines[0] == ("epoch.completed  esper_telemetry.v1.EpochCompleted  level normal, shed later")
    assert "    val_accuracy  double [%] 0..100" in finished.lines
    assert "        Validation accuracy after the epoch." in finished.lines


def test_a_chosen_type_brings_the_messages_and_enums_that_it_holds(cli, record_run):
    checks = [{"metric": "GATE_METRIC_STAGE", "value": 1.0}]
    seat = {"env_id": 0, "device": "cpu", "inner_epoch": 1, "global_epoch": 1}
    folder = record_run(lambda run: run.bind(**seat).emit(seed_pb2.SeedGateEvaluated, slot_id="mid", checks=checks))
    shown = cli("schema", "--type", "seed.gate_evaluated", folder).out
    assert "esper.v1.GateCheck\n" in shown
    assert "esper.v1.GateMetric\n" in shown, "which GateCheck holds"
    assert "HeadStats" not in shown


def test_json_and_markdown_hold_every_declared_type(cli, record_run):
    folder = record_run()
    document = json.loads(cli("schema", "--json", folder).out)
    assert document["events"]["seed.culled"]["requires"] == ["env_id", "device", "inner_epoch", "global_epoch"]
    lines = cli("schema", "--markdown", folder).lines
    assert {f"## {name}" for name in document["events"]} <= set(lines)
    assert "| `val_accuracy` | `double` | `%` | 0..100 | Validation accuracy after the epoch. |" in lines
    assert "| `action_counts` | `map<string, uint64>` | `{action}` |  | Times each option was chosen. |" in lines
