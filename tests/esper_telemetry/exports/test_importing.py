"""Old runs stand beside new ones: their scalars keep name, value, step and time."""

from __future__ import annotations

import json

import pytest

import esper_telemetry as et
from esper_telemetry.errors import ConfigError, RecordError
from esper_telemetry.exports import import_runs


def scalars(folder):
    return [
        (event.data["name"], event.data["value"], event.data.get("step"), event.time_unix_nano)
        for event in et.read(folder, types="scalar.logged")
    ]


def test_lines_of_json_are_a_run(tmp_path):
    lines = [
        {"step": 1, "time": 1_700_000_000.5, "loss": 0.1, "acc": 1, "note": "text", "ok": True},
        {"_step": 2, "timestamp": "2023-11-14T22:13:21+00:00", "loss": float("nan")},
        "no object",
    ]
    (tmp_path / "old.jsonl").write_text("\n".join(map(json.dumps, lines)))
    report = import_runs("jsonl", [tmp_path / "old.jsonl"], tmp_path / "runs")
    assert (report.scalars, report.left_out) == (3, {str(tmp_path / "old.jsonl"): 1})
    found = scalars(report.runs[0])
    assert found[:2] == [("loss", 0.1, 1, 1_700_000_000_500_000_000), ("acc", 1.0, 1, 1_700_000_000_500_000_000)]
    assert str(found[2]) == "('loss', nan, 2, 1700000001000000000)"
    assert [event.type for event in et.read(report.runs[0])][:: len(found) + 1] == ["run.started", "run.finished"]


def test_a_file_of_csv_is_a_run_and_a_second_one_has_an_id_of_its_own(tmp_path):
    (tmp_path / "a.csv").write_text("step,loss,name\n1,0.5,x\n2,,y\n")
    first = import_runs("csv", [tmp_path / "a.csv"], tmp_path / "runs")
    second = import_runs("csv", [tmp_path / "a.csv"], tmp_path / "runs")
    assert [report.runs[0].name for report in (first, second)] == ["a", "a-2"]
    assert [found[:3] for found in scalars(first.runs[0])] == [("loss", 0.5, 1)]
    assert list(first.left_out.values()) == [1]
    answer = et.query("SELECT run, tags['imported_from'] AS origin FROM runs ORDER BY run", tmp_path / "runs" / "*")
    assert answer["origin"].to_pylist() == [str(tmp_path / "a.csv")] * 2


def test_what_holds_no_scalar_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text("{}\n")
    with pytest.raises(RecordError, match="no scalar was found"):
        import_runs("jsonl", [tmp_path / "a.jsonl"], tmp_path / "runs")
    with pytest.raises(ConfigError, match="use one of tensorboard, jsonl, csv"):
        import_runs("xml", [], tmp_path / "runs")
    with pytest.raises(RecordError, match="no event file"):
        import_runs("tensorboard", [tmp_path], tmp_path / "runs")
