"""`check`: exit 4 with what fired, 0 where nothing did, 3 where the record itself is not whole."""

from __future__ import annotations

import json
import random

import esper_telemetry
from esper_telemetry.v1 import training_pb2

HIGH = '[[rule]]\nname = "high"\nkind = "threshold"\nevent = "scalar.logged"\nfield = "value"\nabove = 3\n'


def test_what_fired_is_listed_and_exits_4(cli, write_record, scalars, tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text(HIGH)
    finished = cli("check", write_record(scalars(6)), "--rules", rules)
    assert finished.code == 4
    assert finished.lines[0].split() == ["severity", "rule", "where", "value", "threshold", "state", "times", "seq"]
    assert finished.lines[1].split() == ["warning", "high", "n", "5", ">", "3", "firing", "2", "6"]
    assert "1 rule fired" in finished.err


def test_nothing_fired_is_exit_0_and_tells_what_was_judged(cli, record_run, tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text(HIGH)
    finished = cli("check", record_run(), "--rules", rules)
    assert (finished.code, finished.out) == (0, "")
    assert "1 of 1 rules had events to judge" in finished.err


def test_a_rule_that_was_cleared_counts_unless_only_the_end_does(cli, write_record, tmp_path):
    frame = [(training_pb2.ScalarLogged(name="n", value=value), {}) for value in (5.0, 1.0)]
    path = write_record(frame)
    rules = tmp_path / "rules.toml"
    rules.write_text(HIGH)
    (found,) = json.loads(cli("check", path, "--rules", rules, "--json").out)
    assert (found["rule"], found["state"], found["value"], found["seq"], found["times"]) == (
        "high",
        "cleared",
        "5",
        1,
        1,
    )
    assert cli("check", path, "--rules", rules).code == 4
    assert cli("check", path, "--rules", rules, "--at-end").code == 0


def test_default_rules_are_used_and_can_be_printed(cli, record_run, tmp_path):
    finished = cli("check", record_run())
    assert finished.code == 4
    assert "host loss not finite" in finished.out
    printed = cli("check", "--print-rules")
    copy = tmp_path / "mine.toml"
    copy.write_text(printed.out)
    assert cli("check", record_run(folder=tmp_path / "two"), "--rules", copy).out == finished.out


def test_lost_events_fire_the_default_rules(cli, write_record, scalars):
    finished = cli("check", write_record(scalars(3), scalars(3), shed=2))
    assert finished.code == 4
    assert "events lost" in finished.out


def test_mistakes_are_told(cli, tmp_path):
    assert cli("check").code == 2
    rules = tmp_path / "rules.toml"
    rules.write_text("[[rule]]")
    refused = cli("check", tmp_path, "--rules", rules)
    assert refused.code == 1
    assert "rule 1" in refused.err


def test_a_first_segment_that_is_gone_is_a_loss(cli, tmp_path):
    noise = random.Random(5)
    options = esper_telemetry.RecordOptions(segment_bytes=65_536, frame_bytes=4_096)
    with esper_telemetry.start_run(tmp_path / "runs", name="long", record=options) as run:
        for step in range(16_000):
            run.emit(training_pb2.ScalarLogged, name="n", value=noise.random(), step=step)
    first, *others = sorted(run.folder.glob("*.esr.zst"))
    assert others
    assert cli("check", run.folder).code == 0
    first.unlink()
    finished = cli("check", run.folder)
    assert finished.code == 4
    assert "events lost" in finished.out


def test_a_file_that_was_passed_over_is_told(cli, record_run, tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text(HIGH)
    bad = tmp_path / "bad.esr.zst"
    bad.write_text("no record")
    finished = cli("check", record_run(), bad, "--rules", rules)
    assert finished.code == 3
    assert f"{bad}: passed over" in finished.err
