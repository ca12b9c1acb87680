"""The verbs `export` and `import` (import_.py): what they print, and the codes they end with."""

from __future__ import annotations

import json


def test_an_export_says_what_it_wrote_and_a_second_one_that_nothing_is_new(cli, record_run, tmp_path):
    folder = record_run()
    first = cli("export", folder, "-o", tmp_path / "data")
    assert first.code == 0, first.err
    assert first.out.startswith("10 rows in ")
    second = cli("export", folder, "-o", tmp_path / "data")
    assert (second.code, second.out) == (0, f"nothing new; {tmp_path}/data is as it was\n")


def test_a_loss_is_named_with_code_3(cli, record_run, tmp_path):
    done = cli("export", record_run(), "--to", "csv", "-o", tmp_path / "csv")
    assert done.code == 3
    assert "not in it:" in done.err
    assert "more fields" in done.err
    report = json.loads(cli("export", record_run(), "--to", "csv", "-o", tmp_path / "csv", "--json").out)
    assert len(report["lost"]) > 12


def test_a_wrong_form_is_a_mistake_of_usage(cli, record_run, tmp_path):
    assert cli("export", record_run(), "--to", "xlsx", "-o", tmp_path).code == 2
    assert cli("export", record_run()).code == 2


def test_old_runs_are_imported_and_read_like_new_ones(cli, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"step": 1, "loss": 0.5}\n')
    done = cli("import", "jsonl", tmp_path / "a.jsonl", "-o", tmp_path / "runs")
    assert (done.code, done.lines) == (0, [str(tmp_path / "runs" / "a"), "1 scalar in 1 run"])
    assert json.loads(cli("cat", tmp_path / "runs" / "a", "--type", "scalar.logged", "--json").out)["data"] == {
        "name": "loss",
        "value": 0.5,
        "step": 1,
    }
