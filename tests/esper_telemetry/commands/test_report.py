"""`report`: writes one file, whole or not at all, and never over what is no report."""

from __future__ import annotations

from esper_telemetry import events


def test_a_report_is_written_and_its_verdict_told(cli, record_run, tmp_path):
    target = tmp_path / "r.html"
    finished = cli("report", record_run(), "-o", target)
    assert finished.code == 0, finished.err
    assert target.read_text().startswith("<!doctype html>")
    assert f"wrote {target}" in finished.err
    assert "test: " in finished.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "runs"]


def test_a_report_goes_to_stdout_for_a_dash(cli, record_run):
    finished = cli("report", record_run(), "-o", "-")
    assert finished.out.startswith("<!doctype html>")
    assert finished.out.endswith("</html>\n")


def test_a_report_is_written_again_and_another_file_is_not(cli, record_run, tmp_path):
    folder, target = record_run(), tmp_path / "r.html"
    assert cli("report", folder, "-o", target).code == 0
    assert cli("report", folder, "-o", target).code == 0
    target.write_text("my notes")
    refused = cli("report", folder, "-o", target)
    assert refused.code == 1
    assert "is no report and is not written over" in refused.err
    assert target.read_text() == "my notes"
    assert cli("report", folder, "-o", target, "--force").code == 0
    refused = cli("report", folder, "-o", tmp_path)
    assert refused.code == 1
    assert "is a folder" in refused.err


def test_rules_of_ones_own_make_the_verdict(cli, record_run, tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text(
        '[[rule]]\nname = "too high"\nkind = "threshold"\nevent = "scalar.logged"\nfield = "value"\nabove = 0\n'
    )
    finished = cli("report", record_run(), "-o", tmp_path / "r.html", "--rules", rules)
    assert "test: too high (loss): 0.2500, > 0" in finished.err
    rules.write_text("x = 1")
    refused = cli("report", record_run(folder=tmp_path / "two"), "-o", tmp_path / "s.html", "--rules", rules)
    assert refused.code == 1
    assert not (tmp_path / "s.html").exists()


def test_a_damaged_record_is_reported_and_exits_3(cli, write_record, scalars, tmp_path):
    path = write_record(scalars(9), scalars(9), close=False)
    path.write_bytes(path.read_bytes()[:-5])
    finished = cli("report", path, "-o", tmp_path / "r.html")
    assert finished.code == 3
    assert (tmp_path / "r.html").exists()
    assert "warning:" in finished.err


def test_hostile_names_reach_no_terminal(cli, record_run, tmp_path):
    folder = record_run(lambda run: run.emit(events.ScalarLogged, name="\x1b[31m", value=float("nan")), name="a")
    finished = cli("report", folder, "-o", tmp_path / "r.html")
    assert "\x1b" not in finished.err
