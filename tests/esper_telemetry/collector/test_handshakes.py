"""A client that TLS keeps out is named at the collector, counted by reason, and told at its own end."""

from __future__ import annotations

import logging
import subprocess
import sys
import urllib.request

import pytest

from esper_telemetry.collector.handshakes import HandshakeFilter
from esper_telemetry.collector.metrics import Metrics
from esper_telemetry.errors import ConfigError
from esper_telemetry.uplink.endpoint import Endpoint
from tests.esper_telemetry.collector.certificate_files import make_certificate
from tests.esper_telemetry.collector.test_log_lines import Command


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode()


def health(port: int, *options) -> str:
    """What `esper-telemetry health` answers."""
    command = [sys.executable, "-m", "esper_telemetry", "health", f"localhost:{port}", *map(str, options)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.stdout + ended.stderr


def test_each_mistake_with_tls_is_named_on_both_sides_and_counted(tmp_path):
    certificate, key = make_certificate(tmp_path, "server")
    mine, my_key = make_certificate(tmp_path, "mine")
    foreign, foreign_key = make_certificate(tmp_path, "foreign")
    options = ("--tls-cert", certificate, "--tls-key", key, "--tls-client-ca", mine, "--metrics", "127.0.0.1:0")
    command = Command(tmp_path, *map(str, options))
    try:
        metrics_port = int(command.line(r"metrics on port (\d+)")[1])
        ca = ("--tls-ca", certificate)
        assert "SERVING" in health(command.port, *ca, "--tls-cert", mine, "--tls-key", my_key)
        assert "speaks TLS and this client does not" in health(command.port)
        assert "asks for a client's certificate and wants one" in health(command.port, *ca)
        foreigner = (*ca, "--tls-cert", foreign, "--tls-key", foreign_key)
        assert f"does not take {foreign}" in health(command.port, *foreigner)
        assert f"{foreign_key} is not the key of" in health(
            command.port, *ca, "--tls-cert", mine, "--tls-key", foreign_key
        )
        command.line(r"WARNING refused \d+ TLS handshake\(s\): a client speaks plaintext")
        command.line(r"WARNING refused \d+ TLS handshake\(s\): a client came without a certificate")
        command.line(r"WARNING refused \d+ TLS handshake\(s\): a client's certificate is not vouched for")
        text = scraped(metrics_port)
        for reason in ("plaintext", "no_certificate", "foreign_certificate"):
            assert f'handshake_failures_total{{reason="{reason}"}} 0.0' not in text
        for use in ("server", "client_ca"):
            assert f'certificate_expiry_timestamp_seconds{{file="{use}"}} 1.' in text
    finally:
        command.stop()


def test_a_fleet_with_one_mistake_is_a_line_every_few_seconds_with_their_number():
    metrics, now = Metrics(), 0.0
    seen = HandshakeFilter(metrics.handshake_failures, lambda: now)

    def fail() -> logging.LogRecord | None:
        text = "Handshake failed with error SSL_ERROR_SSL: error:1:SSL routines:OPENSSL_internal:HTTP_REQUEST: x"
        record = logging.LogRecord("grpc.core", logging.INFO, "", 0, "%s", (text,), None)
        return record if seen.filter(record) else None

    assert "refused 1 TLS" in fail().getMessage()
    assert [fail() for _ in range(99)] == [None] * 99
    now = 6.0
    record = fail()
    assert "refused 100 TLS" in record.getMessage()
    assert record.levelno == logging.WARNING
    assert b'handshake_failures_total{reason="plaintext"} 101.0' in metrics.render("")[0]
    name = logging.LogRecord("grpc.core", logging.ERROR, "", 0, "No match found for server name: vm", (), None)
    assert seen.filter(name)
    assert (name.levelno, name.getMessage()) == (
        logging.WARNING, "1 client(s) asked for the name vm, which the certificate of --tls-cert has not",
    )  # fmt: skip
    other = logging.LogRecord("grpc.core", logging.ERROR, "", 0, "something else", (), None)
    assert seen.filter(other)
    assert other.getMessage() == "something else"


def test_a_key_that_does_not_fit_is_named_before_anything_is_sent(tmp_path):
    certificate, _ = make_certificate(tmp_path, "one")
    _, other = make_certificate(tmp_path, "other")
    endpoint = Endpoint("localhost:1", tls_cert=str(certificate), tls_key=str(other))
    with pytest.raises(ConfigError, match=f"{other} is not the key of the certificate {certificate}"):
        endpoint.check_files()
