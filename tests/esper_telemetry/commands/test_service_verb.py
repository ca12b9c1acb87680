"""A service is set up by flags, the environment and one file; what holds is printed, and what is wrong is named."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib

import click
import pytest

from esper_telemetry.commands.collect import command as collect
from esper_telemetry.commands.consume import command as consume
from esper_telemetry.commands.service_verb import key_of


@pytest.fixture
def written(tmp_path):
    """A function that writes the configuration file."""

    def write(text: str):
        path = tmp_path / "collector.toml"
        path.write_text(text)
        return path

    return write


def printed(cli, *arguments) -> dict:
    shown = cli(*arguments, "--print-config")
    assert shown.code == 0, shown.err
    return tomllib.loads(shown.out)


def test_a_flag_counts_more_than_the_environment_and_that_more_than_the_file(cli, written, monkeypatch):
    path = written('listen = "127.0.0.1:1"\nmetrics = "127.0.0.1:2"\nhealth = "127.0.0.1:3"\n')
    monkeypatch.setenv("ESPER_TELEMETRY_COLLECT_LISTEN", "127.0.0.1:10")
    monkeypatch.setenv("ESPER_TELEMETRY_COLLECT_METRICS", "127.0.0.1:20")
    shown = cli("collect", "--config", path, "--listen", "127.0.0.1:100", "--print-config").out
    assert 'listen = "127.0.0.1:100"  # command line' in shown
    assert 'metrics = "127.0.0.1:20"  # environment' in shown
    assert 'health = "127.0.0.1:3"  # file' in shown
    assert 'validate = "sample"  # default' in shown


@pytest.mark.parametrize("verb", [collect, consume], ids=lambda verb: verb.name)
def test_every_option_is_a_key_and_what_is_printed_is_a_file_that_is_read_again(cli, written, tmp_path, verb):
    steering = {"config", "print_config", "check", "help"}
    keys = {key_of(each) for each in verb.params if isinstance(each, click.Option)} - steering
    minimum = ("--dir", tmp_path, *(("--engine", "nats://a:1") if verb is consume else ()))
    first = cli(verb.name, *minimum, "--print-config").out
    lines = (line.removeprefix("# ").partition(" ")[0] for line in first.splitlines())
    assert set(lines) == keys
    assert tomllib.loads(cli(verb.name, "--config", written(first), "--print-config").out) == tomllib.loads(first)


def test_values_may_be_told_from_files_and_variables_and_are_not_printed(cli, written, tmp_path, monkeypatch):
    (tmp_path / "engine").write_text("nats://me:secret@a:4222\n")
    monkeypatch.setenv("LISTEN_HERE", "127.0.0.1:7")
    path = written('engine = {file = "engine"}\nlisten = {env = "LISTEN_HERE"}\nmin-free = 7\n')
    shown = cli("collect", "--config", path, "--print-config").out
    assert "secret" not in shown
    assert tomllib.loads(shown)["engine"] == {"file": "engine"}
    assert cli("collect", "--config", path, "--check").err.count("log: 1 server(s), nats://a:4222") == 1
    monkeypatch.setenv("ESPER_TELEMETRY_COLLECT_ENGINE_FILE", str(tmp_path / "engine"))
    assert "secret" not in cli("collect", "--print-config").out
    monkeypatch.delenv("ESPER_TELEMETRY_COLLECT_ENGINE_FILE")
    assert "secret" not in cli("collect", "--engine", "nats://me:secret@a:4222", "--print-config").out


def test_paths_of_the_file_are_relative_to_it(cli, written, tmp_path):
    (tmp_path / "tokens.toml").write_text('[tenant.a]\n[[token]]\ntenant = "a"\ntoken = "x"\n')
    path = written('dir = "runs"\ntokens = "tokens.toml"\nlisten = "127.0.0.1:0"\n')
    checked = cli("collect", "--config", path, "--check")
    assert checked.code == 0, checked.err
    assert f"{tmp_path}/runs can be used" in checked.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('lisen = "x"', "there is no key 'lisen'; did you mean listen?"),
        ("listen = 7", "listen: 7 is of the wrong kind: text is wanted"),
        ('insecure = "perhaps"', "insecure: 'perhaps'"),
        ("max_streams = 1.5", "max_streams: 1.5"),
        ("max_streams = true", "max_streams: True is of the wrong kind"),
        ('validate = "some"', "validate: 'some' is not one of"),
        ("listen", "is no TOML"),
        ('tokens = {path = "x"}', "tokens: is a table"),
        ('engine = {file = "none"}', "engine: "),
        ('engine = {env = "NOT_THERE_AT_ALL"}', "the environment has no variable NOT_THERE_AT_ALL"),
        ("min_free = 1\nmin-free = 2", "min_free is there twice"),
        ("retention = 7", "retention is no list of tables"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_the_file(cli, written, text, said):
    refused = cli("collect", "--config", written(text))
    assert refused.code == 2
    assert "collector.toml" in refused.err
    assert said in refused.err


def test_retention_rules_are_checked_like_the_rest(cli, written):
    rules = '[[retention]]\nruns = "ci-*"\ndays = 7\n'
    assert printed(cli, "collect", "--config", written(rules), "--dir", "d")["retention"] == [
        {"runs": "ci-*", "days": 7}
    ]
    for wrong, said in (
        ("hours = 1", "hours is unknown"),
        ("days = '7'", "is of the wrong kind"),
        ("gib = -1", "gib -1"),
    ):
        refused = cli("collect", "--config", written(f"[[retention]]\n{wrong}"), "--dir", "d", "--check")
        assert refused.code == 2
        assert f"retention rule 1: {said}" in refused.err or said in refused.err
    unknown = cli("collect", "--config", written("[[retention]]\ntenant = 'v'\n"), "--dir", "d", "--check")
    assert "names the tenant 'v'" in unknown.err


def test_a_start_that_fails_is_one_line_of_json_where_the_log_is_json(tmp_path):
    command = [sys.executable, "-m", "esper_telemetry", "collect", "--log", "json", "--listen", "0.0.0.0:0"]
    ended = subprocess.run([*command, "--dir", tmp_path / "d"], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert json.loads(line)["error"] == "ConfigError"
    assert "refusing to listen" in json.loads(line)["message"]
