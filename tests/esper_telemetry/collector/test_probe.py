import pytest

from esper_telemetry.collector.probe import ask_health
from esper_telemetry.errors import ConfigError
from tests.esper_telemetry.collector.certificate_files import make_certificate


def test_a_collector_says_whether_it_serves(start_collector, tmp_path):
    assert ask_health(f"127.0.0.1:{start_collector().port}", None, 10) == "SERVING"
    full = start_collector(folder=tmp_path / "full", min_free=1.0)
    assert ask_health(f"127.0.0.1:{full.port}", None, 10) == "NOT_SERVING"
    full.terminate()
    assert ask_health(f"127.0.0.1:{full.port}", None, 10).startswith("UNAVAILABLE")


def test_health_is_asked_over_tls_too(start_collector, tmp_path):
    certificate, key = make_certificate(tmp_path, "server")
    collector = start_collector(certificate=str(certificate), key=str(key))
    assert ask_health(f"localhost:{collector.port}", certificate, 10) == "SERVING"
    with pytest.raises(ConfigError):
        ask_health("localhost:1", tmp_path / "gone", 1)
