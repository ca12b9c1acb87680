"""What the operations page and the files beside it say is true of the collector that stands here."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from esper_telemetry import collector
from esper_telemetry.collector.auth import parse_grants
from esper_telemetry.collector.metrics import Metrics
from esper_telemetry.collector.refusal import STATUS
from esper_telemetry.commands.collect import command
from esper_telemetry.commands.consume import command as consume_command
from esper_telemetry.commands.runs import command as runs_command
from esper_telemetry.commands.service_verb import NOT_KEYS, key_of
from esper_telemetry.jetstream.consumer_metrics import ConsumerMetrics

FOLDER = Path(collector.__file__).parent
DEPLOY = FOLDER / "deploy"
PAGE = (FOLDER / "OPERATIONS.md").read_text()
UNIT, MANIFEST = DEPLOY / "esper-telemetry-collector.service", DEPLOY / "kubernetes.yaml"
METRIC = re.compile(r"esper_(?:collector|consumer)_[a-z_]+")


def exposed() -> set[str]:
    """Return the names a Prometheus sees, less those it derives itself."""
    names = set()
    for registry in (Metrics().registry, ConsumerMetrics().registry):
        for family in registry.collect():
            if not family.name.startswith("process_"):
                names.add(family.name + ("_total" if family.type == "counter" else ""))
    return names


def options() -> set[str]:
    verbs = [command, consume_command, *runs_command.commands.values()]
    return {name for verb in verbs for option in verb.params for name in (*option.opts, *option.secondary_opts)}


def test_every_metric_is_explained_and_no_other():
    assert set(METRIC.findall(PAGE)) == exposed()


def asked_by(board: str) -> set[str]:
    panels = json.loads((DEPLOY / board).read_text())["panels"]
    asked = {name for panel in panels for t in panel["targets"] for name in METRIC.findall(t["expr"])}
    assert len({panel["id"] for panel in panels}) == len(panels)
    return {name.removesuffix("_bucket") for name in asked}


def test_every_metric_is_on_a_dashboard_or_in_an_alert_and_no_other():
    collectors, consumers = asked_by("grafana.json"), asked_by("grafana-consumer.json")
    assert not any("consumer" in name for name in collectors), "a collector alone has data for each of its panels"
    alerts = {name.removesuffix("_bucket") for name in METRIC.findall((DEPLOY / "alerts.yaml").read_text())}
    assert collectors | consumers | alerts == exposed()


class OptionRow(NamedTuple):
    """A row of the table of options."""

    flags: str
    key: str
    verbs: str
    default: str

    @property
    def written(self) -> set[str]:
        return set(re.findall(r"--[a-z-]+", self.flags))


def option_rows() -> list[OptionRow]:
    table = PAGE.partition("## Every option")[2].partition("## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"(?m)^\| `--.*$", table)]
    return [OptionRow(cells[0], cells[1].strip("`"), cells[2], cells[3].strip("`")) for cells in rows]


@pytest.mark.parametrize("verb", [command, consume_command], ids=lambda verb: verb.name)
def test_every_option_is_in_the_table_with_its_key_and_its_default_and_no_other(verb):
    documented = {row.key: row for row in option_rows() if verb.name in row.verbs.split(", ")}
    settings = {key_of(option): option for option in verb.params if option.name not in NOT_KEYS}
    assert documented.keys() == settings.keys()
    defaults = verb.make_context(verb.name, [], resilient_parsing=True).params
    for key, option in settings.items():
        assert documented[key].written == {*option.opts, *option.secondary_opts}
        default = defaults[option.name]
        shown = str(default).lower() if isinstance(default, bool) else str(default if default is not None else "")
        assert documented[key].default == shown, key
    for name in {option.name for option in verb.params} & (NOT_KEYS - {"help"}):
        assert f"`--{name.replace('_', '-')}`" in PAGE


@pytest.mark.parametrize("verb", [command, consume_command], ids=lambda verb: verb.name)
def test_every_key_of_the_table_is_one_of_the_configuration_file(verb, tmp_path):
    rows = [row for row in option_rows() if verb.name in row.verbs.split(", ")]
    texts = {"validate": "off", "log": "json", "log_level": "debug"}
    lines = []
    for row in rows:
        value = {"true": "false", "false": "true"}.get(row.default)
        if value is None:
            value = "7" if re.fullmatch(r"[\d.]+", row.default) else json.dumps(texts.get(row.key, "given"))
        lines.append(f"{row.key} = {value}\n")
    (tmp_path / "all.toml").write_text("".join(lines))
    shown = [sys.executable, "-m", "esper_telemetry", verb.name, "--config", "all.toml", "--print-config"]
    ended = subprocess.run(shown, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    printed = dict(re.findall(r"(?m)^(\w+) = .*  # (.*)$", ended.stdout))
    assert printed == dict.fromkeys((row.key for row in rows), "file")


@pytest.mark.parametrize("path", [FOLDER / "OPERATIONS.md", *sorted(DEPLOY.iterdir())], ids=lambda path: path.name)
def test_every_option_that_is_named_exists(path):
    text = re.sub(r"(?m)^# .*$|kubectl[^\n]*|docker compose[^\n]*|podman[^\n]*|--from-file\S*", "", path.read_text())
    elsewhere = {"--from", "--system", "--uid", "--no-cache-dir", "--interval", "--timeout"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - elsewhere <= options()


def test_the_example_of_a_token_file_is_one():
    grants = parse_grants((DEPLOY / "tokens.example.toml").read_text(), "example")
    assert {grant.tenant.name for grant in grants.tokens.values()} == {"vision", "viewers"}


def test_the_reasons_in_the_last_table_are_reasons():
    table = PAGE.partition("## When a client reports")[2]
    named = {word for row in re.findall(r"(?m)^\| (`.*?) \|", table) for word in re.findall(r"`([a-z_]+)`", row)}
    assert {name.upper() for name in named} <= STATUS.keys()


@pytest.mark.parametrize("name", ["compose.yaml", "compose-log.yaml", "kubernetes.yaml"])
def test_the_manifests_are_yaml(name):
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: nothing here can read a manifest")
    documents = list(yaml.safe_load_all((DEPLOY / name).read_text()))
    assert all(isinstance(document, dict) for document in documents)


def test_the_unit_starts_what_there_is_with_the_example_of_a_configuration():
    text = UNIT.read_text()
    start = shlex.split(next(line for line in text.splitlines() if line.startswith("ExecStart=")).partition("=")[2])
    assert start[1:3] == ["collect", "--config"]
    assert start[3].startswith("/etc/esper-telemetry/")
    context = command.make_context("collect", ["--config", str(DEPLOY / "collector.example.toml")])
    assert context.params["listen"] == "[::]:7575"
    assert context.params["tokens"] == DEPLOY / "tokens.toml"


def test_the_unit_needs_little_of_its_machine():
    analyse = ["systemd-analyze", "security", "--offline=true", "--threshold=40", "--no-pager", str(UNIT)]
    try:
        found = subprocess.run(analyse, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("systemd-analyze is not installed")
    assert found.returncode == 0, found.stdout.splitlines()[-1:]


def test_the_manifest_bounds_what_it_takes_and_whom_it_talks_to():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: nothing here can read a manifest")
    found = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(MANIFEST.read_text())}
    pods = found["StatefulSet", "esper-telemetry-collector"]["spec"]
    assert found["Service", pods["serviceName"]]["spec"]["clusterIP"] == "None"
    (port,) = found["Service", "esper-telemetry-collector"]["spec"]["ports"]
    assert port["appProtocol"] == "https", "what is in front of it may not speak in the clear to a port with TLS"
    (container,) = pods["template"]["spec"]["containers"]
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    policy = found["NetworkPolicy", "esper-telemetry-collector"]["spec"]
    assert policy["egress"] == []
    labels = pods["template"]["metadata"]["labels"]
    for (kind, name), document in found.items():
        spec = document.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector") or {}
        assert selector.get("matchLabels", selector) in ({}, labels), f"{kind} {name} selects no pod"


def test_the_manifest_holds_a_configuration_that_a_start_would_take(tmp_path):
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: nothing here can read a manifest")
    config = next(each for each in yaml.safe_load_all(MANIFEST.read_text()) if each["kind"] == "ConfigMap")
    (tmp_path / "collector.toml").write_text(config["data"]["collector.toml"])
    context = command.make_context("collect", ["--config", str(tmp_path / "collector.toml")])
    assert context.params["health"] == "[::]:7576"


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    try:
        program = subprocess.run(["systemd-analyze", "--version"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("systemd-analyze is not installed")
    assert program.returncode == 0
    unit = tmp_path / "esper-telemetry-collector.service"
    text = (DEPLOY / unit.name).read_text().replace("/opt/esper-telemetry/bin/esper-telemetry", "/bin/true")
    unit.write_text(text)
    found = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert unit.name not in found.stderr, found.stderr
