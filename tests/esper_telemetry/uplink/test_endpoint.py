import pytest

from esper_telemetry.errors import ConfigError
from esper_telemetry.uplink.endpoint import Endpoint

PATH = "token"


@pytest.mark.parametrize("address", ["localhost:7575", "10.0.0.1:1", "[::1]:7575", "unix:/run/collector.sock"])
def test_an_address_is_host_and_port_or_a_socket(address):
    assert Endpoint(address).address == address


@pytest.mark.parametrize("address", ["", "localhost", "localhost:", ":7575", "a:b:1", "a:99999", "unix:", "http://a:1"])
def test_anything_else_is_refused_by_name(address):
    with pytest.raises(ConfigError, match="host:port"):
        Endpoint(address)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.8.9.1:1", "localhost:1", "[::1]:1", "unix:x"])
def test_a_token_may_stay_on_this_machine_in_the_clear(address, tmp_path):
    path = tmp_path / "token"
    path.write_text("secret\n")
    assert Endpoint(address, token_file=str(path)).token() == "secret"


@pytest.mark.parametrize("address", ["10.0.0.1:1", "collector.example:1", "0.0.0.0:1"])
def test_a_token_never_leaves_the_machine_in_the_clear(address):
    with pytest.raises(ConfigError, match="in the clear"):
        Endpoint(address, token_file=PATH)
    assert Endpoint(address, token_file=PATH, tls=True).encrypted
    assert Endpoint(address, token_file=PATH, tls_ca="ca.pem").encrypted


def test_half_a_key_pair_is_refused():
    with pytest.raises(ConfigError, match="tls_key"):
        Endpoint("localhost:1", tls_cert="cert.pem")


@pytest.mark.parametrize("content", [None, b"", b"  \n"])
def test_a_token_file_that_holds_none_is_said(content, tmp_path):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=str(path)):
        Endpoint("localhost:1", token_file=str(path)).token()


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfsecret\n", b"secret\r\n", b"  secret  "])
def test_what_editors_add_to_a_token_is_taken_away(content, tmp_path):
    path = tmp_path / "token"
    path.write_bytes(content)
    assert Endpoint("localhost:1", token_file=str(path)).token() == "secret"
    assert Endpoint("localhost:1", token_file=str(path)).metadata == (("authorization", "Bearer secret"),)


@pytest.mark.parametrize("content", [b"s\xc3\xa9cret", b"\xff\xfes\0", b"two\nlines", b"a\x07b"])
def test_a_token_that_cannot_travel_is_refused_with_its_file(content, tmp_path):
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"{path} holds what no token can"):
        Endpoint("localhost:1", token_file=str(path)).token()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "[::1]:1", "unix:x"])
def test_loopback_never_goes_through_a_proxy(address):
    assert ("grpc.enable_http_proxy", 0) in Endpoint(address)._arguments({})


def test_nobody_there_is_no_misconfiguration():
    assert Endpoint("127.0.0.1:1").misconfiguration() == ""
    assert Endpoint("127.0.0.1:1", tls=True).misconfiguration() == ""
    assert Endpoint("unix:x").misconfiguration() == ""
