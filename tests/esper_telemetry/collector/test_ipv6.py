"""Every port of a collector, and every verb that reaches one, over IPv6; a wildcard takes both families."""

from __future__ import annotations

import urllib.request

import pytest

import esper_telemetry as et
from tests.esper_telemetry.commands.conftest import run_cli


@pytest.mark.parametrize("host", ["[::1]", "127.0.0.1"])
def test_a_wildcard_is_reached_over_both_families_by_every_verb(start_collector, tmp_path, host):
    collector = start_collector(listen="[::]:0", metrics="[::]:0", health="[::]:0", insecure=True)
    address = f"{host}:{collector.port}"
    for port in (collector.port, collector.health_port):
        assert run_cli("health", f"{host}:{port}").out == "SERVING\n"
    with urllib.request.urlopen(f"http://{host}:{collector.metrics_port}/livez", timeout=10) as answer:
        assert answer.read() == b"alive\n"
    with et.start_run(tmp_path / "local", name="agent", run_id="by-agent", collector=address) as run:
        run.emit(et.events.ScalarLogged, name="loss", value=1.0, step=1)
    with et.start_run(tmp_path / "local", name="push", run_id="by-push") as run:
        run.emit(et.events.ScalarLogged, name="loss", value=1.0, step=1)
    assert run_cli("push", run.folder, address).code == 0
    while not {"by-agent", "by-push"} <= {*run_cli("runs", address).out.split()}:  # the test's own limit ends it
        pass
    assert "scalar" in run_cli("tail", f"{address}/by-push", "--format", "json").out
    assert run_cli("runs", "delete", "by-push", address, "--yes").code == 0


def test_an_address_without_brackets_is_named_with_the_form_it_should_have():
    refused = run_cli("health", "::1:7575")
    assert refused.code == 1
    assert "is not host:port" in refused.err
