"""Getting into real servers with TLS and each kind of credentials; what will not mend itself ends a start at once."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from dataclasses import replace

import pytest

from esper_telemetry.errors import ConfigError
from esper_telemetry.jetstream import nats_client as module
from esper_telemetry.jetstream.connection import JetStream
from esper_telemetry.jetstream.credentials import LogAccess
from esper_telemetry.jetstream.deployment import LogSettings
from tests.esper_telemetry.collector.certificate_files import make_certificate
from tests.esper_telemetry.jetstream.access_files import Key, write_creds
from tests.esper_telemetry.jetstream.natscluster import PROGRAMS, NatsCluster, free_ports
from tests.esper_telemetry.jetstream.test_connection import until

KINDS = ("user", "token", "nkey", "creds")


def secured(kind: str, folder) -> tuple[str, str]:
    """Return a file's text, and the configuration of servers that let in who has it."""
    if kind == "user":
        return 'user = "me"\npassword = "secret"\n', "authorization { user: me, password: secret }\n"
    if kind == "token":
        return 'token = "secret"\n', 'authorization { token: "secret" }\n'
    if kind == "nkey":
        key = Key.new("U")
        return f"# the log's\n{key.seed}\n", f"authorization {{ users: [ {{ nkey: {key.public} }} ] }}\n"
    extra = write_creds(folder / "creds")
    return (folder / "creds").read_text(), extra


def settings_of(server: NatsCluster, **access) -> LogSettings:
    return LogSettings(servers=server.url, replicas=1, max_bytes=64 << 20, access=LogAccess(**access))


def open_and_close(settings: LogSettings) -> int:
    """Return the number of partitions once everything is there."""

    async def scenario() -> int:
        log = JetStream(settings, "test")
        await log.open()
        await log.close()
        return log.partitions

    return asyncio.run(scenario())


@pytest.fixture
def start(tmp_path):
    servers = []

    def one(extra: str, program: str | None = None) -> NatsCluster:
        servers.append(NatsCluster(tmp_path / f"nats{len(servers)}", 1, extra, program=program))
        return servers[-1]

    yield one
    for server in servers:
        server.stop()


@pytest.fixture
def tls(tmp_path):
    """Certificate and key of servers, and what they are told; the certificate is its own authority."""
    certificate, key = make_certificate(tmp_path, "server")
    return certificate, key, f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}\n'


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_credentials_gets_in_over_tls_with_a_private_authority(tmp_path, start, tls, kind, program):
    text, extra = secured(kind, tmp_path)
    (tmp_path / "file").write_text(text)
    server = start(tls[2] + extra, program)
    assert open_and_close(settings_of(server, credentials=tmp_path / "file", ca=tls[0])) == 8


@pytest.mark.parametrize("kind", KINDS)
def test_the_wrong_credentials_are_told_at_once(tmp_path, start, kind):
    _, extra = secured(kind, tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    text, _ = secured(kind, other)
    (tmp_path / "file").write_text(text.replace("secret", "wrong"))
    with pytest.raises(ConfigError, match=r"not let in: .*correct the file of --log-credentials") as told:
        open_and_close(settings_of(start(extra), credentials=tmp_path / "file"))
    assert "wrong" not in str(told.value)


def test_an_authority_that_signed_nothing_here_is_told_at_once(tmp_path, start, tls):
    server = start(tls[2])
    for access in ({}, {"ca": make_certificate(tmp_path, "other")[0]}):
        with pytest.raises(ConfigError, match=r"not let in: .*--log-tls-ca"):
            open_and_close(settings_of(server, **access))


def test_servers_that_want_a_client_certificate_get_one_or_the_start_says_so(tmp_path, start, tls):
    certificate, key, extra = tls
    server = start(extra.replace("}", f', ca_file: "{certificate}", verify: true }}'))
    with pytest.raises(ConfigError, match=r"not let in: .*--log-tls-cert and --log-tls-key"):
        open_and_close(settings_of(server, ca=certificate))
    assert open_and_close(settings_of(server, ca=certificate, certificate=certificate, key=key)) == 8


class PlainServer:
    """Introduces itself as a NATS server without TLS, and keeps what it is sent."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.received = b""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                info = b'{"server_id":"x","version":"2.9.10","proto":1,"max_payload":1048576,"auth_required":true}'
                connection.sendall(b"INFO " + info + b"\r\n")
                connection.settimeout(5)
                try:
                    while data := connection.recv(4096):
                        self.received += data
                except OSError:
                    pass


def test_where_tls_is_wanted_nothing_is_sent_to_a_server_without(tmp_path):
    server = PlainServer()
    (tmp_path / "file").write_text('user = "me"\npassword = "secret"\n')
    access = LogAccess(credentials=tmp_path / "file")
    settings = LogSettings(servers=f"tls://127.0.0.1:{server.port}", replicas=1, access=access)
    with pytest.raises(ConfigError, match="the server offers no TLS; use nats://"):
        open_and_close(settings)
    assert server.received == b""


def test_a_password_that_changed_gets_in_again_without_a_restart(tmp_path, start):
    file, config = tmp_path / "file", tmp_path / "nats0" / "n0.conf"
    file.write_text('user = "me"\npassword = "first"\n')

    async def scenario() -> None:
        server = await asyncio.to_thread(start, "authorization { user: me, password: first }\n")
        log = JetStream(settings_of(server, credentials=file), "test")
        await log.open()
        try:
            file.write_text('user = "me"\npassword = "second"\n')
            config.write_text(config.read_text().replace("first", "second"))
            await asyncio.to_thread(server.kill, 0)
            await asyncio.to_thread(server.start, 0)
            await until(lambda: log.connects == 1)
            async with asyncio.timeout(60):
                while (await log.fill()).messages:  # noqa: ASYNC110 - any answer will do
                    await asyncio.sleep(0.1)
        finally:
            await log.close()

    asyncio.run(scenario())


def test_a_start_says_what_it_waits_for(monkeypatch, caplog):
    monkeypatch.setattr(module, "START_S", 2)
    monkeypatch.setattr(module, "_PROGRESS_S", 1)
    (port,) = free_ports(1)
    caplog.set_level(logging.INFO, "esper_telemetry.collector")
    with pytest.raises(ConfigError, match=r"cannot be reached: .*Connect call failed.*; is nats-server running\?"):
        open_and_close(LogSettings(servers=f"nats://me:secret@127.0.0.1:{port}", replicas=1))
    assert f"waiting for a server of the log at nats://127.0.0.1:{port} since 1 s: " in caplog.text
    assert "secret" not in caplog.text


def test_a_start_that_lacks_servers_says_how_many(monkeypatch, caplog, tmp_path):
    from esper_telemetry.jetstream import connection

    monkeypatch.setattr(connection, "START_S", 4)
    monkeypatch.setattr(connection, "_PROGRESS_S", 1)
    cluster = NatsCluster(tmp_path, 3)
    caplog.set_level(logging.INFO, "esper_telemetry.collector")
    try:
        cluster.kill(0)
        cluster.kill(1)
        settings = replace(settings_of(cluster), replicas=3)
        with pytest.raises(ConfigError, match="is JetStream on, with 3 servers"):
            open_and_close(settings)
    finally:
        cluster.stop()
    assert "waiting for stream and bucket of the log at" in caplog.text
    assert "most servers are not there" in caplog.text or "has no leader" in caplog.text
