"""What the operations page and the files beside it say is true of the collector that stands here."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from esper_telemetry import collector
from esper_telemetry.collector.auth import parse_grants
from esper_telemetry.collector.metrics import Metrics
from esper_telemetry.collector.refusal import STATUS
from esper_telemetry.commands.collect import command
from esper_telemetry.commands.consume import command as consume_command
from esper_telemetry.commands.runs import command as runs_command
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
    return {name for verb in verbs for option in verb.params for name in option.opts}


def test_every_metric_is_explained_and_no_other():
    assert set(METRIC.findall(PAGE)) == exposed()


def test_the_dashboard_asks_for_metrics_that_there_are():
    board = json.loads((DEPLOY / "grafana.json").read_text())
    asked = {name for panel in board["panels"] for t in panel["targets"] for name in METRIC.findall(t["expr"])}
    assert {name.removesuffix("_bucket") for name in asked} <= exposed()
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


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
