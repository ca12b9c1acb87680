"""A real Prometheus scrapes a real collector: every query of the dashboard returns data from the first minute."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

import esper_telemetry as et
from esper_telemetry import collector

pytestmark = pytest.mark.integrations
DEPLOY = Path(collector.__file__).parent / "deploy"
TOKENS = '[tenant.vision]\nrun_prefix = ""\n[[token]]\ntenant = "vision"\ntoken = "secret"\n'
CONFIG = """
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [alerts.yaml]
scrape_configs:
  - job_name: esper-telemetry
    static_configs: [{targets: ["127.0.0.1:METRICS"]}]
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def ports(tmp_path):
    """Ports of a collector, of its metrics and of a Prometheus that scrapes it."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus (apt: prometheus) is not installed")
    grpc, metrics, web = free_port(), free_port(), free_port()
    (tmp_path / "tokens.toml").write_text(TOKENS)
    (tmp_path / "prometheus.yml").write_text(CONFIG.replace("METRICS", str(metrics)))
    shutil.copy(DEPLOY / "alerts.yaml", tmp_path)
    collect = [sys.executable, "-m", "esper_telemetry", "collect", "--listen", f"127.0.0.1:{grpc}", "--dir", "runs"]
    collect += ["--metrics", f"127.0.0.1:{metrics}", "--tokens", "tokens.toml"]
    watch = [
        program,
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        f"--web.listen-address=127.0.0.1:{web}",
    ]
    with (tmp_path / "log").open("wb") as log:
        started = [subprocess.Popen(each, cwd=tmp_path, stderr=log) for each in (collect, watch)]
    yield grpc, metrics, web
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def ask(web: int, query: str) -> list:
    """Return the result of an instant query; nothing while the server is not up."""
    url = f"http://127.0.0.1:{web}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]["result"]
    except OSError:
        return []


def queries() -> list[str]:
    board = json.loads((DEPLOY / "grafana.json").read_text())
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def without_data(web: int) -> list[str]:
    """Return the queries that have no figure yet."""
    missing = []
    for query in queries():
        found = ask(web, query.replace("$__rate_interval", "4s"))
        if not found or any(sample["value"][1] == "NaN" for sample in found):
            missing.append(query)
    return missing


def test_every_query_of_the_dashboard_has_data_before_any_trainer_came_and_no_alert_fires(ports):
    _, _, web = ports
    while without_data(web):  # the test's own limit ends a query that never has any
        time.sleep(0.5)
    began = float(ask(web, "process_start_time_seconds")[0]["value"][1])
    assert float(ask(web, "time()")[1]) - began < 60
    assert ask(web, 'ALERTS{alertstate="firing"}') == []


def test_what_a_trainer_sends_is_seen_with_its_tenant(ports, tmp_path):
    grpc, _, web = ports
    (tmp_path / "token").write_text("secret")
    with et.start_run(tmp_path / "sent", name="one") as run:
        for step in range(1000):
            run.emit(et.events.ScalarLogged, name="loss", value=1.0, step=step)
    push = [sys.executable, "-m", "esper_telemetry", "push", str(run.folder), f"127.0.0.1:{grpc}"]
    subprocess.run([*push, "--token-file", str(tmp_path / "token")], check=True, capture_output=True)
    while not (events := ask(web, 'esper_collector_tenant_accepted_events_total{tenant="vision"} > 1000')):
        time.sleep(0.2)
    assert int(events[0]["value"][1]) > 1000
    assert ask(web, "esper_collector_durable_bytes_total > 0 and esper_collector_durable_bytes_total"), "it is durable"
