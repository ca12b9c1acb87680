"""What an operator finds in the log: a line for each stream, refusal, storage error and deletion; no secret."""

from __future__ import annotations

import re
import resource
import shutil
import signal
import subprocess
import sys

import grpc
import pytest

from esper_telemetry.v1 import collector_pb2
from tests.esper_telemetry.collector.publisher import Produced, Publication, open_stub, publish
from tests.esper_telemetry.collector.test_service import bearer, push_of

TOKENS = """
[tenant.vision]
[[token]]
tenant = "vision"
token = "very-secret-token"
may = ["read", "write", "delete"]
"""
TOKEN = bearer("very-secret-token")


class Command:
    """`esper-telemetry collect`, with what it logs."""

    def __init__(self, tmp_path, *options: str) -> None:
        (tmp_path / "tokens.toml").write_text(TOKENS)
        self.folder, self._log = tmp_path / "store", tmp_path / "log"
        command = [sys.executable, "-m", "esper_telemetry", "collect", "--listen", "127.0.0.1:0"]
        command += ["--dir", str(self.folder), "--tokens", str(tmp_path / "tokens.toml"), *options]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, stderr=log)
        self.port = int(self.line(r"listening on 127\.0\.0\.1:(\d+)")[1])

    def line(self, pattern: str) -> re.Match:
        """Wait for a line; the test's own timeout ends a log without it."""
        while True:
            found = re.search(pattern, self._log.read_text())
            if found is not None:
                return found
            assert self.process.poll() is None, self._log.read_text()

    @property
    def lines(self) -> list[str]:
        return self._log.read_text().splitlines()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(timeout=60) == 0


@pytest.fixture
def command(tmp_path):
    command = Command(tmp_path)
    yield command
    command.stop()
    assert "very-secret-token" not in "".join(command.lines)
    assert "Traceback" not in "".join(command.lines)
    assert max(map(len, command.lines)) < 2000


def test_streams_and_pushes_are_said_with_who_and_how_far(command):
    produced, pushed = Produced(run_id="streamed"), Produced(run_id="pushed")
    with open_stub(command.port) as stub:
        publish(stub, produced, metadata=TOKEN, frames=produced.batches[:1])  # and no Close
        publish(stub, produced, epoch=2, metadata=TOKEN, frames=())
        publish(stub, produced, epoch=3, metadata=TOKEN)
        stub.PushBatch(push_of(pushed, 1, pushed.batches), timeout=30, metadata=TOKEN)
        fenced = Publication(stub, TOKEN).send(produced.hello(4))
        fenced.receive("welcome")
        Publication(stub, TOKEN).send(produced.hello(5)).receive("welcome")
        fenced.refusal()
    short = produced.producer_id.hex()[:8]
    command.line(rf"streamed/{short}: stream 1 of vision begins behind 0\n")
    command.line(rf"streamed/{short}: stream 1 ends, durable up to 25: its client ended it\n")
    command.line(rf"streamed/{short}: stream 3 ends, durable up to 100: it is complete\n")
    command.line(rf"streamed/{short}: stream 4 ends, durable up to 100: FENCED\n")
    command.line(rf"pushed/{pushed.producer_id.hex()[:8]}: push 1 of vision is durable up to 100\n")


def test_refusals_are_said_with_peer_and_reason_and_nothing_that_was_sent_as_a_proof(command):
    with open_stub(command.port) as stub:
        Publication(stub, bearer("another-secret-token")).send(Produced().hello()).refusal()
        Publication(stub, TOKEN).send(Produced().hello(run_id="a\nERROR forged" + "x" * 50_000)).refusal()
    command.line(r"refused ipv4:127\.0\.0\.1:\d+: the token is unknown.*\(TOKEN\)\n")
    command.line(r"refused .*cannot be a run id.*\(IDENTITY\)\n")
    assert "another-secret" not in "".join(command.lines)
    assert not [line for line in command.lines if line.startswith("ERROR forged")]


def test_a_storage_error_is_said_once_for_each_stream_that_it_ends(command):
    produced = Produced()
    _, hard = resource.prlimit(command.process.pid, resource.RLIMIT_FSIZE)
    with open_stub(command.port) as stub:
        stream = Publication(stub, TOKEN).send(produced.hello(), produced.schema, produced.batches[0])
        stream.acked(25)
        room = command._log.stat().st_size + 20_000  # for the log; no record grows beyond it
        resource.prlimit(command.process.pid, resource.RLIMIT_FSIZE, (room, hard))
        big = [Produced(frames=1, per_frame=20_000) for _ in range(2)]
        for each in big:
            with pytest.raises(grpc.RpcError):
                publish(stub, each, metadata=TOKEN)
        command.line("NOT_SERVING: ")
        resource.prlimit(command.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    for each in big:
        said = [line for line in command.lines if f"{each.producer_id.hex()[:8]}: cannot be stored" in line]
        assert len(said) <= 1
    assert any("cannot be stored" in line for line in command.lines)


def test_files_that_are_gone_are_said_with_their_names_and_numbers(command):
    produced = Produced()
    with open_stub(command.port) as stub:
        stream = Publication(stub, TOKEN).send(produced.hello(), produced.schema, *produced.batches)
        stream.acked(100)
        shutil.rmtree(command.folder / produced.run_id)
        stream.refusal()
    command.line(rf"{produced.producer_id.hex()[:8]}: .*000001\.esr\.zst was removed or moved away\n")
    command.line(r"numbers 1 to 100 were durable and are lost\n")


def test_deletions_are_said(command, tmp_path):
    produced = Produced()
    with open_stub(command.port) as stub:
        publish(stub, produced, metadata=TOKEN)
        stub.DeleteRun(collector_pb2.DeleteRunRequest(run_id=produced.run_id), timeout=30, metadata=TOKEN)
        for epoch, batch in enumerate(produced.batches, 1):
            publish(stub, produced, epoch, frames=[batch, produced.close()][:1], metadata=TOKEN)
    command.line(rf"run {produced.run_id}: deleted on request, \d+ bytes\n")
