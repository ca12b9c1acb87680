"""A schema change that would mislead a reader is found: each rule is broken once, in a copy of proto/."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.check_schema import PROTO, compile_protos, findings, main

SEED, TRAINING, CONTEXT = "esper/v1/seed.proto", "esper_telemetry/v1/training.proto", "esper_telemetry/v1/context.proto"
OPTIONS = "esper_telemetry/v1/options.proto"
BUF = Path(sys.executable).with_name("buf")


@pytest.fixture
def proto(tmp_path):
    """Return a copy of proto/, the committed baseline included."""
    return Path(shutil.copytree(PROTO, tmp_path / "proto"))


def edit(proto: Path, name: str, pattern: str, replacement: str) -> None:
    """Replace the first match of `pattern`; a pattern that matches nothing is an error of the test."""
    path = proto / name
    changed, count = re.subn(pattern, replacement, path.read_text(), count=1, flags=re.DOTALL)
    assert count == 1, f"{pattern!r} is not in {name}"
    path.write_text(changed)


def test_the_committed_schema_has_no_finding():
    assert findings(PROTO) == []


MISLEADING = [
    (TRAINING, r'(epoch_time_ms = 6 .*?unit: )"ms"', r'\1"s"', r"epoch_time_ms: unit changed .*'ms' to 's'"),
    (SEED, r"(uint64 params_added = 7.*?)KIND_DELTA", r"\1KIND_GAUGE", r"params_added: kind changed .* to KIND_GAUGE"),
    (SEED, r'"seed\.culled"', '"seed.dropped"', r"SeedCulled: name changed .* to 'seed\.dropped'"),
    (
        SEED,
        r'("seed\.culled"\s+level: )LEVEL_LIFECYCLE',
        r"\1LEVEL_DEBUG",
        r"SeedCulled: level changed from LEVEL_LIFECYCLE",
    ),
    (
        SEED,
        r'("seed\.culled".*?shedding: )SHEDDING_NEVER',
        r"\1SHEDDING_FIRST",
        r"SeedCulled: shedding changed .* to SHEDDING_FIRST",
    ),
    (SEED, r'("seed\.culled".*?requires: \[)', r"\1CONTEXT_KEY_STEP,", r"SeedCulled: requires CONTEXT_KEY_STEP now"),
    (SEED, r'"gradient_ratio"', '"grad_ratio"', r"GRADIENT_RATIO: label changed .* to 'grad_ratio'"),
    (TRAINING, r"(double train_loss = 1.*?)allow_non_finite: true", r"\1", r"train_loss: NaN was a legal measurement"),
    (TRAINING, r'option \(event\) = \{\s+name: "perf\.throughput".*?\};', "", r"Throughput: is no event any more"),
]


@pytest.mark.parametrize(
    ("name", "pattern", "replacement", "said"), MISLEADING, ids=[row[3][:40] for row in MISLEADING]
)
def test_a_change_that_would_mislead_a_reader_is_found(proto, name, pattern, replacement, said):
    edit(proto, name, pattern, replacement)
    assert [line for line in findings(proto) if re.search(said, line)], findings(proto)


NEW_EVENT = """
// A new event.
message Paused {
  option (event) = {
    %s
  };
  %s
}
"""
GOOD = 'name: "run.paused" level: LEVEL_NORMAL'
BROKEN = [
    ("level: LEVEL_NORMAL", "", r"v1\.Paused: the event has no short name"),
    (
        'name: "epoch.completed" level: LEVEL_NORMAL',
        "",
        r"'epoch\.completed' belongs to esper_telemetry\.v1\.EpochCompleted",
    ),
    ('name: "run.paused"', "", r"v1\.Paused: the event has no level"),
    (GOOD, "optional double wait = 1;", r"Paused\.wait: a number needs its unit"),
    (GOOD, "map<string, double> waits = 1;", r"Paused\.waits: a number needs its unit"),
    (GOOD, "repeated int64 waits = 1;", r"Paused\.waits: a number needs its unit"),
    (GOOD, 'string why = 1 [(meta) = {unit: "s"}];', r"Paused\.why: only a number has a unit"),
    (GOOD, "bool by_user = 1;", r"Paused\.by_user: make it `optional`"),
    (GOOD, 'double wait_s = 1 [(meta) = {unit: "s"}];', r"Paused\.wait_s: make it `optional`"),
    (
        GOOD,
        "optional uint32 env_id = 1 [(meta) = {kind: KIND_KEY}];",
        r"Paused\.env_id: Context has a field of that name",
    ),
    (GOOD, "Cause cause = 1; message Cause { uint32 code = 1; }", r"Paused\.Cause\.code: a number needs its unit"),
]


@pytest.mark.parametrize(("option", "fields", "said"), BROKEN, ids=[row[2][:40] for row in BROKEN])
def test_a_new_event_that_breaks_a_rule_is_found(proto, option, fields, said):
    path = proto / TRAINING
    path.write_text(path.read_text() + NEW_EVENT % (option, fields))
    assert [line for line in findings(proto) if re.search(said, line)], findings(proto)


def test_a_new_event_that_keeps_the_rules_is_welcome(proto):
    path = proto / TRAINING
    field = 'optional double wait_s = 1 [(meta) = {unit: "s" kind: KIND_GAUGE}];'
    path.write_text(path.read_text() + NEW_EVENT % (GOOD, field))
    assert findings(proto) == []


def test_a_context_key_that_does_not_number_its_field_is_found(proto):
    edit(proto, CONTEXT, r"(optional string group = )10", r"\g<1>11")
    said = "\n".join(findings(proto))
    assert "number 10 is 'group', and None in esper_telemetry.v1.Context" in said
    assert "number 11 is None, and 'group' in esper_telemetry.v1.Context" in said


def breaking(proto: Path) -> subprocess.CompletedProcess[str]:
    command = [str(BUF), "breaking", "--against", "baseline.binpb"]
    return subprocess.run(command, cwd=proto, capture_output=True, text=True, check=False)


def test_buf_finds_a_field_that_was_deleted_against_the_committed_baseline(proto):
    assert breaking(proto).returncode == 0
    edit(proto, SEED, r"  // Why, short and machine-readable: \"policy\".*?\];\n", "")
    finished = breaking(proto)
    assert finished.returncode != 0
    assert 'field "6" with name "reason" on message "SeedCulled" was deleted' in finished.stdout


def test_a_change_is_accepted_by_moving_the_baseline(proto, monkeypatch, capsys):
    edit(proto, TRAINING, r'(epoch_time_ms = 6 .*?unit: )"ms"', r'\1"s"')
    monkeypatch.setattr(sys, "argv", ["check_schema.py", "--proto", str(proto)])
    assert main() == 1
    assert "unit changed" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["check_schema.py", "--proto", str(proto), "--accept"])
    assert main() == 0
    assert "are the baseline now" in capsys.readouterr().out
    assert findings(proto) == []


def test_a_schema_that_does_not_compile_is_an_error_and_not_an_empty_schema(proto):
    edit(proto, OPTIONS, "message EventMeta", "mess EventMeta")
    with pytest.raises(subprocess.CalledProcessError):
        compile_protos(proto)
