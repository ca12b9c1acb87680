"""A NATS server to test with, and a message log of its own for each test."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.esper_telemetry.jetstream.natscluster import NatsCluster

# A slow machine fails no property.
settings.register_profile("collector", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("collector")


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory):
    """One nats-server for all tests of a module: each has a log of its own name."""
    server = NatsCluster(tmp_path_factory.mktemp("nats"), 1)
    yield server
    server.stop()


@pytest.fixture
def log_settings(nats_server, request):
    """Where the log of this test is; made by whoever opens it first."""
    from esper_telemetry.jetstream.deployment import LogSettings, Names

    name = f"log{abs(hash(request.node.nodeid))}"
    return LogSettings(servers=nats_server.url, names=Names(name), partitions=2, replicas=1, max_bytes=64 << 20)
