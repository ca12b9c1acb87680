import http.client
import re
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from esper_telemetry.collector.metrics import Metrics, skip_label
from esper_telemetry.daemon.metrics_port import MetricsServer
from esper_telemetry.errors import ConfigError
from esper_telemetry.v1 import collector_pb2


@pytest.fixture
def serving():
    state = {"problem": ""}
    metrics = Metrics()
    server = MetricsServer("127.0.0.1:0", metrics, lambda: state["problem"])
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
    refused = {sample.labels["reason"]: sample.value for sample in families["esper_collector_refused"].samples}
    assert refused["gap"] == 1
    assert "version" in families["esper_collector_build_info"].samples[0].labels


def test_healthz_follows_the_collector(serving):
    _, port, state = serving
    assert get(port, "/healthz") == (200, "SERVING\n")
    state["problem"] = "only 4.9% of the disk is free, 5.0% must be"
    assert get(port, "/healthz") == (
        503, "NOT_SERVING\nreason: only 4.9% of the disk is free, 5.0% must be\n",
    )  # fmt: skip
    assert get(port, "/other")[0] == 404


def test_healthz_names_the_tasks_that_fail_and_goes_on_to_serve():
    failing: dict[str, str] = {}
    server = MetricsServer("127.0.0.1:0", Metrics(), str, failing=lambda: failing)
    try:
        failing.update({"retention": "OSError: ...", "archive": "SinkError: ..."})
        assert get(server.port, "/healthz") == (200, "SERVING\nfailing: archive, retention\n")
    finally:
        server.close()


def test_a_request_that_fails_is_a_line_of_the_log_and_the_port_goes_on(caplog):
    answers = [ValueError("a bug in a metric"), ""]

    def problem() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    server = MetricsServer("127.0.0.1:0", Metrics(), problem)
    try:
        with pytest.raises(http.client.RemoteDisconnected):
            get(server.port, "/healthz")
        assert get(server.port, "/healthz") == (200, "SERVING\n")
    finally:
        server.close()
    assert "the metrics port could not answer" in caplog.text
    assert "a bug in a metric" in caplog.text


def test_livez_names_the_duties_that_are_overdue_and_a_full_disk_is_none():
    overdue: list[str] = []
    server = MetricsServer("127.0.0.1:0", Metrics(), lambda: "full", lambda: overdue)
    try:
        assert get(server.port, "/livez") == (200, "alive\n")
        overdue.append("storage")
        assert get(server.port, "/livez") == (503, "overdue: storage\n")
    finally:
        server.close()


def test_the_process_is_shown_as_every_prometheus_client_shows_it():
    text = Metrics().render("")[0].decode()
    for name in ("resident_memory_bytes", "cpu_seconds_total", "open_fds", "max_fds", "start_time_seconds"):
        assert f"\nprocess_{name} " in text


def test_a_wildcard_takes_both_families():
    server = MetricsServer("[::]:0", Metrics(), str)
    try:
        for host in ("127.0.0.1", "[::1]"):
            with urllib.request.urlopen(f"http://{host}:{server.port}/healthz", timeout=10) as answer:
                assert answer.read() == b"SERVING\n"
    finally:
        server.close()


def test_two_collectors_of_one_process_count_apart():
    one, other = Metrics(), Metrics()
    one.received_frames.inc()
    assert b"received_frames_total 1.0" in one.render("")[0]
    assert b"received_frames_total 0.0" in other.render("")[0]


def test_a_port_that_is_taken_is_an_error(serving):
    with pytest.raises(ConfigError, match="cannot listen"):
        MetricsServer(f"127.0.0.1:{serving[1]}", Metrics(), str)


def test_every_reason_is_shown_with_0_before_it_happens():
    text = Metrics().render("")[0].decode()
    for value in collector_pb2.RefusalReason.DESCRIPTOR.values[1:]:
        assert (
            f'esper_collector_refused_total{{reason="{value.name.removeprefix("REFUSAL_REASON_").lower()}"}} 0' in text
        )
    for value in collector_pb2.SkipReason.DESCRIPTOR.values:
        assert f'esper_collector_skipped_numbers_total{{reason="{skip_label(value.number)}"}} 0' in text


@pytest.mark.parametrize("host", ["::1", "127.0.0.1", "localhost"])
def test_metrics_are_served_on_addresses_of_both_families(host):
    shown = f"[{host}]" if ":" in host else host
    server = MetricsServer(f"{shown}:0", Metrics(), str)
    try:
        with urllib.request.urlopen(f"http://{shown}:{server.port}/healthz", timeout=10) as answer:
            assert answer.read() == b"SERVING\n"
    finally:
        server.close()


@pytest.mark.parametrize("host", ["::1", "127.0.0.1"])
def test_a_taken_port_is_named_with_its_address(host):
    shown = f"[{host}]" if ":" in host else host
    server = MetricsServer(f"{shown}:0", Metrics(), str)
    try:
        with pytest.raises(ConfigError, match=rf"{re.escape(shown)}:{server.port} for metrics"):
            MetricsServer(f"{shown}:{server.port}", Metrics(), str)
    finally:
        server.close()
