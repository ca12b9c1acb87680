import re
from pathlib import Path

import pytest

from esper_telemetry.collector.retention import RetentionRule
from esper_telemetry.collector.settings import Settings
from esper_telemetry.errors import ConfigError
from esper_telemetry.jetstream.deployment import LogSettings
from esper_telemetry.wire import is_loopback, split_address

PEM = Path("x.pem")


def settings(listen="127.0.0.1:7575", **changes) -> Settings:
    return Settings(listen=listen, directory=Path("d"), **changes)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:1", "[::1]:7575", "unix:/tmp/x.sock", "127.5.5.5:9"])
def test_this_machine_may_be_listened_on_without_tls(listen):
    settings(listen).check()
    assert is_loopback(listen)


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
    with pytest.raises(ConfigError, match="is not host:port"):
        split_address(address)


def test_an_address_has_host_and_port():
    assert split_address("[::1]:80") == ("::1", 80)
    assert split_address("a.b:65535") == ("a.b", 65535)


def log(servers: str) -> LogSettings:
    return LogSettings(servers=servers)


def test_the_servers_of_a_log_are_urls_and_are_shown_without_passwords():
    assert log("nats://a:4222,b:4222").urls == ["nats://a:4222", "nats://b:4222"]
    assert log("tls://a:4222,nats://b:4222").urls == ["tls://a:4222", "nats://b:4222"]
    assert log("nats://me:secret@a:4222,b:4222").shown == "nats://a:4222,b:4222"
    with pytest.raises(ConfigError, match=r"'kafka://a:1' is no engine, e\.g\. nats://127.0.0.1:4222"):
        log("kafka://me:secret@a:1").urls  # noqa: B018 - reading it checks it


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("", 8, 3, 16.0), "--log-name ''"),
        (("a.b", 8, 3, 16.0), "only letters, digits, - and _"),
        (("a", 0, 3, 16.0), "--log-partitions 0 must be above 0"),
        (("a", 8, 0, 16.0), "--log-replicas 0"),
        (("a", 8, 3, 0.0), "--log-gib 0"),
    ],
)
def test_an_option_that_cannot_be_is_named(wrong, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        LogSettings.of("nats://a:1", *wrong)
    assert LogSettings.of("nats://a:1", "night", 4, 1, 0.5).max_bytes == 1 << 29


def test_a_collector_has_a_folder_or_a_log(tmp_path):
    for wrong in ({}, {"directory": tmp_path, "log": log("nats://a:1")}):
        with pytest.raises(ConfigError, match="either --dir, or --engine"):
            Settings(listen="127.0.0.1:0", **wrong).check()
    with pytest.raises(ConfigError, match="retention goes with --dir"):
        Settings(listen="127.0.0.1:0", log=log("nats://a:1"), retention=(RetentionRule(days=1),)).check()
