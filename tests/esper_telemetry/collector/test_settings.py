from pathlib import Path

import pytest

from esper_telemetry.collector.settings import Settings, is_local, split_address
from esper_telemetry.errors import ConfigError

PEM = Path("x.pem")


def settings(listen="127.0.0.1:7575", **changes) -> Settings:
    return Settings(listen=listen, directory=Path("d"), **changes)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:1", "[::1]:7575", "unix:/tmp/x.sock", "127.5.5.5:9"])
def test_this_machine_may_be_listened_on_without_tls(listen):
    settings(listen).check()
    assert is_local(listen)


@pytest.mark.parametrize("listen", ["0.0.0.0:7575", "[::]:7575", "10.0.0.1:7575", "collector.example:7575"])
def test_the_network_needs_tls_or_a_word_that_it_is_meant(listen):
    with pytest.raises(ConfigError, match="refusing to listen"):
        settings(listen).check()
    settings(listen, insecure=True).check()
    settings(listen, certificate=PEM, key=PEM).check()


def test_tls_settings_must_fit_together():
    for wrong in ({"certificate": PEM}, {"key": PEM}, {"client_ca": PEM}):
        with pytest.raises(ConfigError):
            settings(**wrong).check()


@pytest.mark.parametrize("address", ["", "7575", ":7575", "host", "host:", "host:x", "host:65536", "host:-1", "host:²"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ConfigError, match="HOST:PORT"):
        split_address(address)


def test_an_address_has_host_and_port():
    assert split_address("[::1]:80") == ("::1", 80)
    assert split_address("a.b:65535") == ("a.b", 65535)
