"""A type is a file that Arrow, a CSV reader or a JSON parser reads back, equal row by row or with its loss named."""

from __future__ import annotations

import csv
import json

import polars as pl
import pyarrow as pa
import pytest

import esper_telemetry as et
from esper_telemetry.errors import ConfigError, CorruptRecordError
from esper_telemetry.exports.exporting import FORMS, export
from esper_telemetry.exports.exportreport import ExportReport, decodable
from esper_telemetry.exports.tablefiles import export_tables
from esper_telemetry.v1 import training_pb2
from tests.esper_telemetry.tables.cells import assert_same, expected_rows


def test_arrow_files_hold_every_cell(record_run, tmp_path):
    record_run(name="one")
    record_run(name="two")
    report = export(tmp_path / "runs" / "*", tmp_path / "arrow", "arrow")
    expected = expected_rows(tmp_path / "runs" / "*")
    assert report.lost == {}
    for path in (tmp_path / "arrow").iterdir():
        with pa.ipc.open_file(path) as reader:
            table = reader.read_all()
        assert_same(table, expected.get(table.schema.metadata[b"full_name"].decode(), []))
    assert len(pl.read_ipc(tmp_path / "arrow" / "scalar.logged.arrow")) == 4


def test_json_lines_hold_every_cell_with_all_digits_of_the_time(record_run, tmp_path):
    folder = record_run()
    export(folder, tmp_path / "lines", "ndjson")
    lines = [json.loads(line) for line in (tmp_path / "lines" / "epoch.completed.jsonl").read_text().splitlines()]
    (event,) = et.read(folder, types="epoch.completed")
    assert lines[0]["train_loss"] == "NaN"
    assert lines[0]["val_accuracy"] == 0.0
    assert lines[0]["train_accuracy"] is None
    assert lines[0]["time"].endswith(f"{event.time_unix_nano % 10**9:09}Z")
    (counts,) = (json.loads(line) for line in (tmp_path / "lines" / "policy.action_distribution.jsonl").open())
    assert counts["action_counts"] == {"cull": 0, "germinate": 2, "wait": 7}


def test_csv_says_what_it_cannot_tell(record_run, tmp_path):
    report = export_tables(record_run(), tmp_path / "csv", "csv")
    rows = list(csv.DictReader((tmp_path / "csv" / "seed.culled.csv").open(newline="")))
    assert [(row["slot_id"], row["alpha"], row["contribution"]) for row in rows] == [("mid", "0.25", "")]
    assert "empty text" in report.lost["seed.culled.reason"]
    assert "seed.culled.alpha" not in report.lost
    assert (tmp_path / "csv" / "checkpoint.saved.csv").read_text().count("\n") == 1, "a type without events has a head"


def test_a_payload_that_nothing_explains_is_left_out_and_named(write_record, tmp_path):
    path = write_record([(training_pb2.ScalarLogged(name="x", value=1.0), {})])
    (good,) = [event for event in et.read(path) if event.type == "scalar.logged"]

    class Undeclared:
        type = "type:9"

        @property
        def message(self):
            raise CorruptRecordError("no descriptors")

    lost = {}
    assert list(decodable([good, Undeclared()], lost)) == [good]
    assert list(lost) == ["type:9"]


def test_a_form_is_one_of_those_there_are(record_run, tmp_path):
    with pytest.raises(ConfigError, match="to is 'xlsx'; use one of parquet, arrow"):
        export(record_run(), tmp_path / "x", "xlsx")
    with pytest.raises(ConfigError, match="leave it out for 'csv'"):
        export(record_run(), tmp_path / "x", "csv", by="type,run")
    assert set(FORMS) == {"parquet", "arrow", "csv", "ndjson", "tensorboard", "mcap", "perfetto", "otlp"}
    assert et.export is export
    assert isinstance(export(record_run(), tmp_path / "y"), ExportReport)
