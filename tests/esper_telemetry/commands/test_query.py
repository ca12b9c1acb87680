"""The verb `query`, and `answers.py`, which writes what it finds: tables, JSON, CSV, Parquet; and wrong questions."""

from __future__ import annotations

import csv
import json

import pytest
from pyarrow import parquet

SQL = "SELECT slot_id, alpha, action FROM (SELECT *, {'do': 1} AS action FROM seed.culled)"


def test_the_answer_is_a_table(cli, record_run):
    done = cli("query", SQL, record_run())
    assert done.code == 0, done.err
    assert [line.split() for line in done.lines] == [["slot_id", "alpha", "action"], ["mid", "0.25", '{"do":1}']]
    assert done.err == "1 row\n"


def test_the_answer_is_json_csv_or_parquet(cli, record_run, tmp_path):
    folder = record_run()
    expected = {"slot_id": "mid", "alpha": 0.25, "action": {"do": 1}}
    assert json.loads(cli("query", SQL, folder, "--json").out) == expected
    assert list(csv.reader(cli("query", SQL, folder, "--format", "csv").lines))[1] == ["mid", "0.25", '{"do":1}']
    done = cli("query", SQL, folder, "--format", "parquet", "-o", tmp_path / "a.parquet")
    assert (done.code, done.out) == (0, "")
    assert parquet.read_table(tmp_path / "a.parquet").to_pylist() == [expected]
    cli("query", SQL, folder, "--json", "-o", tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == expected


def test_json_holds_nan_as_text(cli, record_run):
    done = cli("query", "SELECT train_loss, val_loss, train_accuracy FROM epoch.completed", record_run(), "--json")
    assert json.loads(done.out) == {"train_loss": "NaN", "val_loss": "-Infinity", "train_accuracy": None}


def test_the_views_are_listed_with_units(cli, record_run):
    done = cli("query", "--explain-views", record_run(), "--json")
    columns = {(line["view"], line["column"]): line for line in map(json.loads, done.lines)}
    assert columns["epoch.completed", "val_accuracy"]["unit"] == "%"
    assert ("runs", "outcome") in columns


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["SELECT * FROM nope", "FOLDER"], 1, "--explain-views"),
        (["DROP VIEW runs", "FOLDER"], 1, "a query only reads"),
        (["SELECT 1", "nowhere"], 1, "no such file"),
        (["SELECT 1"], 2, "no FILE was given"),
        (["SELECT 1", "FOLDER", "--format", "parquet"], 2, "-o FILE"),
    ],
    ids=["view", "drop", "file", "usage", "binary"],
)
def test_a_wrong_question_says_what_to_do(cli, record_run, arguments, code, words):
    folder = record_run()
    done = cli("query", *(folder if one == "FOLDER" else one for one in arguments))
    assert done.code == code
    assert words in done.err


def test_losses_are_told_with_code_3(cli, write_record, scalars):
    done = cli("query", "SELECT count(*) AS n FROM scalar.logged", write_record(scalars(3), close=False))
    assert done.code == 3
    assert done.lines[1].strip() == "3"
    assert "warning" in done.err
