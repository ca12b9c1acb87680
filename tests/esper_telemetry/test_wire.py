import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.errors import ConfigError
from esper_telemetry.recorder import StreamOptions
from esper_telemetry.uplink.endpoint import Endpoint
from esper_telemetry.wire import CREDENTIALS, TokenBucket, check_address, is_loopback, split_address

# address, host and port for a server, a client can use it, only this machine reaches it
ADDRESSES = [
    ("localhost:7575", ("localhost", 7575), True, True),
    ("127.0.0.1:1", ("127.0.0.1", 1), True, True),
    ("[::1]:65535", ("::1", 65535), True, True),
    ("collector.example:7575", ("collector.example", 7575), True, False),
    ("192.0.2.1:7575", ("192.0.2.1", 7575), True, False),
    ("127.0.0.1:0", ("127.0.0.1", 0), False, True),
    ("unix:/tmp/collector", None, True, True),
    ("unix:", None, False, True),
]
NOT_ADDRESSES = [
    "",
    "localhost",
    ":7575",
    "localhost:",
    "localhost:65536",
    "::1:7575",
    "http://a:1",
    "a b:1",
    "a:\u0661",
]


@pytest.mark.parametrize(("address", "parts", "usable", "near"), ADDRESSES, ids=[one[0] for one in ADDRESSES])
def test_an_address_means_the_same_to_a_server_and_to_a_client(address, parts, usable, near):
    if parts is not None:
        assert split_address(address) == parts
    if usable:
        check_address(address)
    else:
        with pytest.raises(ConfigError, match="is not host:port"):
            check_address(address)
    assert is_loopback(address) is near


@pytest.mark.parametrize("address", NOT_ADDRESSES, ids=ascii)
def test_what_is_no_address_is_refused_at_both_ends(address):
    for read in (split_address, check_address, is_loopback, Endpoint):
        with pytest.raises(ConfigError, match="is not host:port, such as localhost:7575"):
            read(address)


@pytest.mark.parametrize("kind", [StreamOptions, lambda **files: Endpoint("localhost:1", **files)], ids=["run", "verb"])
def test_half_a_key_pair_is_refused_in_a_run_and_in_a_verb(kind):
    for half in ({"tls_cert": "a"}, {"tls_key": "a"}):
        with pytest.raises(ConfigError, match="both tls_cert and tls_key"):
            kind(**half)


def test_a_run_and_a_verb_take_the_same_credentials():
    for kind in (StreamOptions, Endpoint):
        assert set(CREDENTIALS) <= {field.name for field in dataclasses.fields(kind)}


def test_no_rate_means_no_waiting():
    bucket = TokenBucket(0)
    assert bucket.take(1e12, 0) == 0
    assert bucket.take(1e12, 0) == 0


def test_a_second_of_the_rate_is_free_and_more_has_to_wait():
    bucket = TokenBucket(100)
    assert bucket.take(100, now=5.0) == 0
    assert bucket.take(50, now=5.0) == pytest.approx(0.5)
    assert bucket.take(0, now=5.5) == pytest.approx(0)


@given(st.lists(st.floats(0, 1000), max_size=50), st.floats(1, 1000))
def test_whoever_waits_as_told_never_exceeds_rate_plus_one_second(amounts, rate):
    bucket, now = TokenBucket(rate), 0.0
    for amount in amounts:
        now += bucket.take(amount, now)
    assert sum(amounts) <= rate * (now + 1) * (1 + 1e-6) + 1e-6
