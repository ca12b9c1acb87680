import pytest

from esper_telemetry.errors import ConfigError
from esper_telemetry.uplink.destination import Destination

PATH = "token"


@pytest.mark.parametrize("address", ["localhost:7575", "10.0.0.1:1", "[::1]:7575", "unix:/run/collector.sock"])
def test_an_address_is_host_and_port_or_a_socket(address):
    assert Destination(address).address == address


@pytest.mark.parametrize("address", ["", "localhost", "localhost:", ":7575", "a:b:1", "a:99999", "unix:", "http://a:1"])
def test_anything_else_is_refused_by_name(address):
    with pytest.raises(ConfigError, match="host:port"):
        Destination(address)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.8.9.1:1", "localhost:1", "[::1]:1", "unix:x"])
def test_a_token_may_stay_on_this_machine_in_the_clear(address, tmp_path):
    path = tmp_path / "token"
    path.write_text("secret\n")
    assert Destination(address, token_file=str(path)).token() == "secret"


@pytest.mark.parametrize("address", ["10.0.0.1:1", "collector.example:1", "0.0.0.0:1"])
def test_a_token_never_leaves_the_machine_in_the_clear(address):
    with pytest.raises(ConfigError, match="in the clear"):
        Destination(address, token_file=PATH)
    assert Destination(address, token_file=PATH, tls=True).encrypted
    assert Destination(address, token_file=PATH, tls_ca="ca.pem").encrypted


def test_half_a_key_pair_is_refused():
    with pytest.raises(ConfigError, match="--tls-key"):
        Destination("localhost:1", tls_cert="cert.pem")


@pytest.mark.parametrize("content", [None, b"", b"  \n"])
def test_a_token_file_that_holds_none_is_said(content, tmp_path):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=str(path)):
        Destination("localhost:1", token_file=str(path)).token()
