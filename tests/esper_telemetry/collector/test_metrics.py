import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from esper_telemetry.collector.metrics import Metrics, MetricsServer
from esper_telemetry.errors import ConfigError


@pytest.fixture
def serving():
    state = {"serving": True}
    metrics = Metrics()
    server = MetricsServer("127.0.0.1", 0, metrics, lambda: state["serving"])
    yield metrics, server.port, state
    server.close()


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_prometheus_reads_every_metric_and_each_says_what_it_counts(serving):
    metrics, port, _ = serving
    metrics.received_frames.inc(3)
    metrics.refused.labels("gap").inc()
    status, text = get(port, "/metrics")
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["esper_collector_received_frames"].samples[0].value == 3
    assert all(family.documentation for family in families.values())
    assert families["esper_collector_refused"].samples[0].labels == {"reason": "gap"}
    assert "version" in families["esper_collector_build_info"].samples[0].labels


def test_healthz_follows_the_collector(serving):
    _, port, state = serving
    assert get(port, "/healthz") == (200, "SERVING\n")
    state["serving"] = False
    assert get(port, "/healthz") == (503, "NOT_SERVING\n")
    assert get(port, "/other")[0] == 404


def test_two_collectors_of_one_process_count_apart():
    one, other = Metrics(), Metrics()
    one.received_frames.inc()
    assert b"received_frames_total 1.0" in one.render("")[0]
    assert b"received_frames_total 0.0" in other.render("")[0]


def test_a_port_that_is_taken_is_an_error(serving):
    with pytest.raises(ConfigError, match="cannot listen"):
        MetricsServer("127.0.0.1", serving[1], Metrics(), lambda: True)
