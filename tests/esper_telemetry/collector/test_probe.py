import pytest

from esper_telemetry.collector.probe import ask_health
from esper_telemetry.errors import ConfigError
from esper_telemetry.uplink.endpoint import Endpoint
from tests.esper_telemetry.collector.certificate_files import make_certificate


def test_a_collector_says_whether_it_serves(start_collector, tmp_path):
    assert ask_health(Endpoint(f"127.0.0.1:{start_collector().port}"), 10) == "SERVING"
    full = start_collector(folder=tmp_path / "full", min_free=1.0)
    assert ask_health(Endpoint(f"127.0.0.1:{full.port}"), 10) == "NOT_SERVING"
    full.terminate()
    assert ask_health(Endpoint(f"127.0.0.1:{full.port}"), 10).startswith("UNAVAILABLE")


def test_health_is_asked_over_tls_too(start_collector, tmp_path):
    certificate, key = make_certificate(tmp_path, "server")
    collector = start_collector(certificate=str(certificate), key=str(key))
    assert ask_health(Endpoint(f"localhost:{collector.port}", tls_ca=str(certificate)), 10) == "SERVING"
    with pytest.raises(ConfigError):
        ask_health(Endpoint("localhost:1", tls_ca=str(tmp_path / "gone")), 1)


def test_health_is_asked_with_a_clients_certificate_and_says_where_one_is_missing(start_collector, tmp_path):
    certificate, key = make_certificate(tmp_path, "server")
    mine, my_key = make_certificate(tmp_path, "client", san="DNS:trainer.example")
    other, other_key = make_certificate(tmp_path, "stranger", san="DNS:trainer.example")
    collector = start_collector(certificate=str(certificate), key=str(key), client_ca=str(mine))
    address, ca = f"localhost:{collector.port}", str(certificate)
    known = Endpoint(address, tls_ca=ca, tls_cert=str(mine), tls_key=str(my_key))
    assert ask_health(known, 10) == "SERVING"
    assert "wants one: give --tls-cert" in ask_health(Endpoint(address, tls_ca=ca), 10)
    stranger = Endpoint(address, tls_ca=ca, tls_cert=str(other), tls_key=str(other_key))
    assert f"does not take {other}" in ask_health(stranger, 10)
    assert "is not vouched for by" in ask_health(Endpoint(address, tls_ca=str(other)), 10)
    assert "give --tls or --tls-ca" in ask_health(Endpoint(address), 10)


def test_tls_to_a_collector_without_it_is_said(start_collector):
    address = f"127.0.0.1:{start_collector().port}"
    assert "speaks no TLS" in ask_health(Endpoint(address, tls=True), 10)
