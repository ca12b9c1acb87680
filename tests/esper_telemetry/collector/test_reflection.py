"""Reflection as a stranger's tool uses it, in both versions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BUF = Path(sys.executable).with_name("buf")


def curl(address: str, *arguments: str) -> str:
    if not BUF.exists():
        pytest.skip("buf is not installed beside this Python: there is no client of both versions")
    command = [str(BUF), "curl", "--http2-prior-knowledge", "--protocol", "grpc", *arguments]
    ended = subprocess.run([*command], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("version", ["grpc-v1", "grpc-v1alpha"])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_client_without_our_protos_lists_the_services_and_calls_one(start_collector, version, host):
    collector = start_collector(listen=f"{host}:0")
    address = f"http://{host}:{collector.port}"
    listed = curl(address, "--reflect-protocol", version, "--list-services", address).split()
    assert {"esper_telemetry.v1.Collector", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} <= {*listed}
    call = (address + "/esper_telemetry.v1.Collector/ListRuns",)
    assert curl(address, "--reflect-protocol", version, "-d", "{}", *call).strip() == "{}"
