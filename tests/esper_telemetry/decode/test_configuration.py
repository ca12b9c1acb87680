"""The configuration of a run as its record tells it."""

from __future__ import annotations

from esper_telemetry.decode import run_configuration


def test_a_run_without_a_configuration_has_none():
    assert run_configuration({"name": "x"}, []) is None


def test_parts_are_merged_in_their_order():
    found = run_configuration(
        {"config_json": '{"a":{"b":1},"c":[1]}', "config_sha256": "1", "redacted": ["argv[1]", "config.x"]},
        [
            {"config_json": '{"a":{"d":2}}', "config_sha256": "2"},
            {"config_json": '{"c":null}', "config_sha256": "3", "redacted": ["config.x"], "config_bytes": 9},
        ],
    )
    assert found.values == {"a": {"b": 1, "d": 2}, "c": None}
    assert (found.sha256, found.redacted, found.cut) == ("3", ["argv[1]", "config.x"], True)
    assert found.settings == {"a.b": 1, "a.d": 2, "c": None}


def test_a_configuration_that_came_late_is_all_there_is():
    found = run_configuration({}, [{"config_json": '{"lr":0.5}'}])
    assert (found.values, found.sha256, found.cut) == ({"lr": 0.5}, None, False)


def test_what_another_writer_put_there_is_shown_as_a_value():
    assert run_configuration({"config_json": "no json"}, []).values == {"value": "no json"}
    assert run_configuration({"config_json": "[1]"}, []).settings == {"value": "[1]"}
