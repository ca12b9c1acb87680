"""`diff`: what two runs have in common, and where they part."""

from __future__ import annotations

import json

import pytest

from esper_telemetry.v1 import training_pb2


@pytest.fixture
def recorded(record_run):
    def record(*values, **options):
        def emit(run):
            for value in values:
                run.emit(training_pb2.ScalarLogged, name="loss", value=value)

        return record_run(emit, **options)

    return record


def test_differences_are_tables_for_people(cli, recorded):
    finished = cli("diff", recorded(1.0, 2.0, config={"lr": 0.1}), recorded(1.0, 5.0, 6.0, config={"lr": 0.3}))
    assert finished.code == 0
    rows = [line.split() for line in finished.lines]
    assert ["0.1", "0.3", "config.lr"] in rows
    assert ["completed", "completed", "outcome"] in rows
    assert ["2", "3", "+1", "scalar.logged"] in rows
    assert ["1.5", "4", "+167", "%", "2", "6", "scalar.logged", "value"] in rows


def test_json_is_one_document(cli, recorded):
    document = json.loads(cli("diff", "--json", recorded(1.0), recorded(2.0)).out)
    (field,) = [field for field in document["fields"] if field["name"] == "value"]
    assert (field["left"]["mean"], field["right"]["mean"], field["change"]) == (1.0, 2.0, 1.0)
    assert document["types"] == []
    assert document["left"]["events"] == 3


def test_the_same_events_are_a_check_that_passes(cli, recorded):
    finished = cli("diff", "--exact", recorded(1.0, 2.0), recorded(1.0, 2.0))
    assert finished.code == 0
    assert not finished.out
    assert "the same events" in finished.err


def test_other_events_are_a_problem_and_shown(cli, recorded):
    folders = recorded(1.0, 2.0, 3.0), recorded(1.0, 2.5, 3.0)
    finished = cli("diff", "--exact", *folders)
    assert finished.code == 4
    assert "main rank 0: alike for 1 event, then they part" in finished.err
    assert [line[:2] for line in finished.lines] == ["- ", "+ "]
    assert finished.lines[0].endswith("name=loss value=2")
    assert finished.lines[1].endswith("name=loss value=2.5")
    (parting,) = json.loads(cli("diff", "--exact", "--json", *folders).out)
    assert (parting["alike"], parting["left"]["data"]["value"], parting["right"]["data"]["value"]) == (1, 2.0, 2.5)


def test_the_choice_of_events_holds_here_too(cli, recorded):
    assert cli("diff", "--exact", "--type", "run.*", recorded(1.0), recorded(2.0)).code == 0


def test_a_file_that_could_not_be_compared_is_told(cli, record_run):
    folder = record_run()
    (folder / "notes.esr.zst").write_text("no record")
    for options in ([], ["--exact"]):
        finished = cli("diff", *options, folder, folder)
        assert finished.code == 3, options
        assert "notes.esr.zst: passed over" in finished.err
