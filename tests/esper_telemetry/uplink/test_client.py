"""Streams over real gRPC to the real collector, and to things that are none."""

import asyncio
import signal
import socket

import grpc
import pytest

from esper_telemetry.recordfile import RecordReader
from esper_telemetry.uplink.client import run_stream
from esper_telemetry.uplink.endpoint import Endpoint
from esper_telemetry.uplink.retry import ProtocolTimes
from esper_telemetry.uplink.session import Session
from esper_telemetry.v1 import collector_pb2, collector_pb2_grpc
from tests.esper_telemetry.collector.certificate_files import make_certificate
from tests.esper_telemetry.collectorprocess import CollectorProcess


def stream_once(session, address, **how):
    asyncio.run(asyncio.wait_for(run_stream(session, Endpoint(address, **how), lambda: None), 60))


def new_session(spool, **how) -> Session:
    return Session(spool, rng=lambda: 0.5, client="test", **how)


def test_what_the_collector_stores_is_what_stands_in_the_file(collector, producer, kit):
    producer.write(frames=300, noise=50).close()
    session = new_session(producer.spool())
    stream_once(session, collector.address)
    assert session.finished
    assert session.promised
    assert session.durable_seq == 3000
    assert collector.frames(producer.folder.name) == kit.frames(producer.sink.paths)


class Recorded(collector_pb2_grpc.CollectorServicer):
    """A server that welcomes every stream, acks every frame, and keeps the kinds of the messages that came."""

    def __init__(self, batches_bytes: int) -> None:
        self.kinds: list[tuple[str, int]] = []
        self._limits = collector_pb2.StreamLimits(batches_bytes=batches_bytes)

    async def Publish(self, requests, _context):  # noqa: N802 - named by the service
        async for message in requests:
            kind = message.WhichOneof("message")
            batches = message.batches.batches if kind == "batches" else [message.batch] if kind == "batch" else []
            self.kinds.append((kind, sum(len(batch.payload) for batch in batches)))
            if kind == "hello":
                welcome = collector_pb2.Welcome(protocol=1, limits=self._limits, need_schema=True)
                welcome.durability = collector_pb2.DURABILITY_FILE
                yield collector_pb2.ServerMessage(welcome=welcome)
            for batch in batches:
                ack = collector_pb2.Ack(durable_seq=batch.last_seq, accepted_seq=batch.last_seq)
                yield collector_pb2.ServerMessage(ack=ack)

    def streamed(self, session) -> list[tuple[str, int]]:
        """Return the kinds of a session's messages, with the bytes of their payloads."""

        async def scenario() -> None:
            server = grpc.aio.server()
            collector_pb2_grpc.add_CollectorServicer_to_server(self, server)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            session.epoch_known = True
            await asyncio.wait_for(run_stream(session, Endpoint(f"127.0.0.1:{port}"), lambda: None), 60)
            await server.stop(None)

        asyncio.run(scenario())
        assert session.finished
        return self.kinds


def test_frames_travel_together_as_far_as_the_collector_takes_that(producer):
    producer.write(frames=60, noise=50).close()
    kinds = Recorded(batches_bytes=4000).streamed(new_session(producer.spool()))
    together = [size for kind, size in kinds if kind == "batches"]
    assert len(together) > 1
    assert max(together) <= 4000
    assert len(kinds) < 40, "most frames came beside others"


def test_a_collector_that_takes_frames_one_by_one_gets_them_so(producer):
    producer.write(frames=60, noise=50).close()
    kinds = [kind for kind, _ in Recorded(batches_bytes=0).streamed(new_session(producer.spool()))]
    assert kinds.count("batch") == 60
    assert "batches" not in kinds


def test_a_second_sender_takes_over_and_repeats_nothing(collector, producer, kit):
    producer.write(frames=50).close()
    stream_once(new_session(producer.spool()), collector.address)
    again = new_session(producer.spool())
    stream_once(again, collector.address)
    assert again.finished
    assert again.epoch == 2
    assert again.tally.frames == 0
    assert collector.frames(producer.folder.name) == kit.frames(producer.sink.paths)


def test_types_declared_on_the_way_arrive_before_their_frames(collector, producer, kit):
    producer.write(frames=3).sink.write(kit.batch(31, 5, new_types=[(2, kit.epoch)]))
    producer.close()
    stream_once(new_session(producer.spool()), collector.address)
    segments = collector.segments(producer.folder.name)
    assert kit.frames(segments) == kit.frames(producer.sink.paths)
    (segment,) = segments  # a schema that grows stays in one segment
    with RecordReader(segment) as reader:
        assert kit.epoch.full_name in reader.types.values()


def test_a_gap_in_the_spool_is_stored_as_a_skip(collector, tmp_path, kit):
    source = kit.Producer(tmp_path, max_bytes=1000).write(frames=10, noise=20).close()
    source.sink.paths[4].unlink()
    left = [path for path in source.sink.paths if path.exists()]
    from esper_telemetry.recordfile import SkipReason
    from esper_telemetry.uplink.spool import Spool, find_segments

    session = new_session(Spool([place for path in left for place in find_segments(path)], follow=False))
    stream_once(session, collector.address)
    assert session.finished
    segments = collector.segments(source.folder.name)
    assert kit.frames(segments) == kit.frames(left)
    skips = []
    for path in segments:
        with RecordReader(path) as reader:
            skips += [skip for segment in reader.segments for skip in segment.skips]
    assert [(skip.first_seq, skip.last_seq, skip.reason) for skip in skips] == [(41, 50, SkipReason.SPOOL_LOST)]


def test_nobody_there_is_a_reason_to_come_back(producer):
    producer.write().close()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        session = new_session(producer.spool())
        stream_once(session, f"127.0.0.1:{probe.getsockname()[1]}")
    assert session.ending.code == "UNAVAILABLE"
    assert not session.stopped
    assert not session.finished


def test_a_collector_that_falls_silent_is_left_and_found_again(collector, producer, kit):
    producer.write(frames=5).close()
    session = new_session(producer.spool(), timing=ProtocolTimes(heartbeat=0.1))
    session.epoch_known = True
    collector.signal(signal.SIGSTOP)
    stream_once(session, collector.address)
    assert session.ending.code == "DEADLINE_EXCEEDED"
    assert not session.stopped
    collector.signal(signal.SIGCONT)
    patient = new_session(producer.spool())
    stream_once(patient, collector.address)
    assert patient.finished
    assert collector.frames(producer.folder.name) == kit.frames(producer.sink.paths)


def test_a_killed_collector_is_sent_what_it_did_not_make_durable(collector, producer, kit):
    producer.write(frames=400, noise=200).close()
    session = new_session(producer.spool())

    def kill_once():
        if session.accepted_seq > 100 and session.tally.connects == 1:
            collector.kill()

    asyncio.run(asyncio.wait_for(run_stream(session, Endpoint(collector.address), kill_once), 60))
    assert not session.finished
    collector.start()
    stream_once(session, collector.address)
    assert session.finished
    assert collector.frames(producer.folder.name) == kit.frames(producer.sink.paths)


def test_a_server_that_is_no_collector_is_said_and_not_tried_again(producer):
    grpc = pytest.importorskip("grpc")
    from concurrent.futures import ThreadPoolExecutor

    producer.write().close()
    server = grpc.server(ThreadPoolExecutor(2))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    session = new_session(producer.spool())
    stream_once(session, f"127.0.0.1:{port}")
    server.stop(None)
    assert session.stopped.startswith("UNIMPLEMENTED")


# --- what proves both ends --------------------------------------------------------------------------------------------

TOKENS = """
[tenant.mine]
run_prefix = "2026"
[[token]]
tenant = "mine"
token = "the secret"
"""


@pytest.fixture
def guarded(tmp_path):
    """A collector with TLS and tokens; its certificate, and a file with the token."""
    certificate, key = make_certificate(tmp_path, "collector")
    tokens, token = tmp_path / "tokens.toml", tmp_path / "token"
    tokens.write_text(TOKENS)
    tokens.chmod(0o600)
    token.write_text("the secret\n")
    process = CollectorProcess(tmp_path / "collected", "--tls-cert", certificate, "--tls-key", key, "--tokens", tokens)
    yield process.start(), str(certificate), str(token)
    process.kill()


def test_a_token_goes_over_tls_to_a_collector_whose_certificate_is_known(guarded, producer, kit):
    collector, certificate, token = guarded
    producer.write(frames=5).close()
    session = new_session(producer.spool())
    stream_once(session, collector.address, token_file=token, tls_ca=certificate)
    assert session.finished
    assert collector.frames(producer.folder.name) == kit.frames(producer.sink.paths)


def test_a_wrong_token_is_tried_again_and_the_right_one_is_read_then(guarded, producer, tmp_path):
    collector, certificate, _ = guarded
    producer.write().close()
    mine = tmp_path / "mine"
    mine.write_text("a guess")
    session = new_session(producer.spool(), timing=ProtocolTimes(token_retry=0.0))
    stream_once(session, collector.address, token_file=str(mine), tls_ca=certificate)
    assert session.ending.code == "UNAUTHENTICATED"
    assert not session.stopped
    mine.write_text("the secret")
    stream_once(session, collector.address, token_file=str(mine), tls_ca=certificate)
    assert session.finished


def test_a_run_that_the_token_does_not_allow_is_refused_for_good(guarded, tmp_path, kit):
    collector, certificate, token = guarded
    foreign = kit.Producer(tmp_path, run_id="foreign").write().close()
    session = new_session(foreign.spool())
    stream_once(session, collector.address, token_file=token, tls_ca=certificate)
    assert session.stopped.startswith("PERMISSION_DENIED (forbidden)")


def test_a_collector_that_nobody_vouches_for_is_told_nothing(guarded, producer):
    collector, _, token = guarded
    producer.write().close()
    session = new_session(producer.spool())
    stream_once(session, collector.address, token_file=token, tls=True)
    assert "is not vouched for by the system's roots" in session.ending.details
    assert session.durable_seq == 0


def test_plaintext_to_a_collector_with_tls_does_not_get_through(guarded, producer):
    collector, _, _ = guarded
    producer.write().close()
    session = new_session(producer.spool())
    stream_once(session, collector.address)
    assert "give --tls or --tls-ca" in session.ending.details
