import asyncio
import contextlib
import itertools
import os
import resource
import socket
import threading
import urllib.request
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from esper_telemetry.collector.server import CollectorServer
from esper_telemetry.collector.settings import Settings
from esper_telemetry.errors import ConfigError
from esper_telemetry.storage.engine import Seal
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.v1 import collector_pb2
from tests.esper_telemetry.collector.certificate_files import make_certificate
from tests.esper_telemetry.collector.publisher import (
    Produced,
    Publication,
    open_stub,
    publish,
    stored,
)

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE = "esper_telemetry.v1.Collector"


def health_of(port: int, service: str = SERVICE):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status


def wait_for_health(port: int, wanted) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=60)
        assert any(answer.status == wanted for answer in watch)


def metric(collector, name: str) -> float:
    """Return a metric, summed over its labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{collector.metrics_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    values = [float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name]
    assert values, name
    return sum(values)


def test_standard_clients_get_health_and_reflection(collector):
    assert health_of(collector.port) == SERVING
    assert health_of(collector.port, "") == SERVING
    with grpc.insecure_channel(f"127.0.0.1:{collector.port}") as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert SERVICE in database.get_services()
        file = database.FindFileContainingSymbol(SERVICE)
        assert [method.name for method in file.service[0].method] == [
            "Publish", "PushBatch", "GetWatermark", "Subscribe", "ListRuns", "DeleteRun",
        ]  # fmt: skip


def test_metrics_count_what_was_stored(collector):
    produced = Produced()
    with open_stub(collector.port) as stub:
        publish(stub, produced)
        publish(stub, produced, 2)
        Publication(stub).send(produced.hello(1)).refusal()
    assert metric(collector, "esper_collector_received_frames_total") == 8
    assert metric(collector, "esper_collector_accepted_events_total") == 100
    assert metric(collector, "esper_collector_duplicate_frames_total") == 4
    assert metric(collector, "esper_collector_durable_bytes_total") == sum(map(len, produced.raw))
    assert metric(collector, "esper_collector_refused_total") == 1
    assert metric(collector, "esper_collector_serving") == 1
    assert metric(collector, "esper_collector_sync_seconds_count") >= 1


def test_sigterm_acks_what_was_taken_tells_clients_to_go_and_exits_well(start_collector):
    collector = start_collector()
    producers = [Produced() for _ in range(30)]
    with open_stub(collector.port) as stub:
        streams = [Publication(stub).send(each.hello(), each.schema, *each.batches) for each in producers]
        idle = Publication(stub).send(Produced().hello())
        idle.receive("welcome")
        for stream in streams:
            stream.acked(100)
        assert collector.terminate() == 0
        for stream in [*streams, idle]:
            assert stream.receive("drain").reason == collector_pb2.DRAIN_REASON_SHUTDOWN
            assert stream.refusal() == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    for produced in producers:
        assert stored(collector.folder, produced) == produced.raw


def test_sigterm_with_five_hundred_streams_stores_all_it_acked_and_exits_well(start_collector):
    collector = start_collector()
    produced = [Produced(frames=1, per_frame=5, run_id=f"drain-{number}") for number in range(500)]  # a folder each
    with contextlib.ExitStack() as channels:
        stubs = [channels.enter_context(open_stub(collector.port)) for _ in range(10)]
        streams = []
        for number, each in enumerate(produced):
            streams.append(Publication(stubs[number % 10]).send(each.hello(), each.schema, each.batches[0]))
        for number, (stream, each) in enumerate(zip(streams, produced, strict=True)):
            streams[number] = welcomed(stream, stubs[number % 10], each)
        assert collector.terminate() == 0
        acked = [last_ack(stream) for stream in streams]
    for each, last in zip(produced, acked, strict=True):
        found = [path.read_bytes() for path in collector.folder.glob(f"{each.run_id}/*.esr.zst")]
        assert len(found) >= (last > 0)
        assert all(each.raw[0] in content for content in found)


def welcomed(stream, stub, produced):
    """Wait for the Welcome; where the disk took longer than the collector waits, come back as every client does."""
    for epoch in itertools.count(2):
        with contextlib.suppress(grpc.RpcError):
            stream.receive("welcome")
            return stream
        assert stream.call.code() is grpc.StatusCode.UNAVAILABLE
        stream = Publication(stub).send(produced.hello(epoch), produced.schema, produced.batches[0])
    return None


def last_ack(stream) -> int:
    """Return the highest durable number of a stream that is ended by a drain, or well."""
    last = 0
    with contextlib.suppress(grpc.RpcError):
        for message in stream.call:
            last = max(last, message.ack.durable_seq)
    assert stream.call.code() in {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    return last


def test_sigterm_in_the_middle_of_everything_loses_nothing_that_was_acked(start_collector):
    producers = [Produced(frames=200, per_frame=5) for _ in range(4)]
    collector = start_collector()
    with open_stub(collector.port) as stub:
        streams = [Publication(stub).send(each.hello(), each.schema, *each.batches) for each in producers]
        for stream in streams:
            stream.acked(1)
        assert collector.terminate() == 0
        acked = [last_ack(stream) for stream in streams]
    collector = start_collector()
    with open_stub(collector.port) as stub:
        for produced, last in zip(producers, acked, strict=True):
            welcome = publish(stub, produced, 9)[0].welcome
            assert welcome.durable_seq >= last
            assert stored(collector.folder, produced) == produced.raw


def test_a_killed_collector_that_starts_again_has_everything_it_acked(start_collector):
    produced = Produced(frames=40, per_frame=5)
    for epoch in range(1, 5):
        collector = start_collector()
        with open_stub(collector.port) as stub:
            stream = Publication(stub).send(produced.hello(epoch), produced.schema, *produced.batches[: epoch * 10])
            ack = stream.acked(epoch * 50)
            collector.kill()
            stream.end()
        assert ack.durable_seq == epoch * 50
        assert stored(collector.folder, produced)[: epoch * 10] == produced.raw[: epoch * 10]
    start_collector()
    assert stored(collector.folder, produced) == produced.raw


def test_a_full_disk_is_said_clients_keep_their_spool_and_service_comes_back(start_collector):
    collector = start_collector()
    produced = Produced(frames=10)
    pid = collector.process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    with open_stub(collector.port) as stub:
        stream = Publication(stub).send(produced.hello(), produced.schema, *produced.batches[:3])
        stream.acked(75)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))  # no file may grow: what a full disk does
        assert stream.send(*produced.batches[3:]).refusal() == (grpc.StatusCode.UNAVAILABLE, "STORAGE")
        wait_for_health(collector.port, NOT_SERVING)
        assert Publication(stub).send(Produced().hello()).refusal() == (grpc.StatusCode.UNAVAILABLE, "STORAGE")
        assert metric(collector, "esper_collector_serving") == 0
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        wait_for_health(collector.port, SERVING)
        answers = publish(stub, produced, 2)
        assert answers[0].welcome.durable_seq == 75
        assert answers[-1].ack.durable_seq == 250
    assert stored(collector.folder, produced) == produced.raw


def test_a_disk_with_too_little_room_is_not_written_to(start_collector):
    collector = start_collector(min_free=1.0)
    assert health_of(collector.port) == NOT_SERVING
    with open_stub(collector.port) as stub:
        assert Publication(stub).send(Produced().hello()).refusal() == (grpc.StatusCode.UNAVAILABLE, "STORAGE")
    assert "must be" in collector.log()


def test_two_collectors_never_share_a_folder_or_a_port(start_collector, tmp_path):
    first = start_collector()
    with pytest.raises(RuntimeError, match="another collector uses this folder"):
        start_collector()
    with pytest.raises(RuntimeError, match="cannot listen"):
        start_collector(folder=tmp_path / "other", listen=f"127.0.0.1:{first.port}")


def test_listening_to_the_network_without_tls_is_refused(start_collector):
    with pytest.raises(RuntimeError, match="refusing to listen"):
        start_collector(listen="0.0.0.0:0")


def test_more_calls_than_there_may_be_are_refused_before_they_cost_anything(start_collector):
    collector = start_collector(limits={"streams": 1, "readers": 1, "hello_s": 60})
    produced = Produced()
    with contextlib.ExitStack() as open_channels:
        stubs = [open_channels.enter_context(open_stub(collector.port)) for _ in range(8)]
        silent = [Publication(stub) for stub in stubs for _ in range(60)]
        while sum(not stream.call.is_active() for stream in silent) < len(silent) - 322:
            assert any(stream.call.is_active() for stream in silent)
        codes = {stream.call.code() for stream in silent if not stream.call.is_active()}
        assert codes == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        for stream in silent:
            stream.cancel()
    with open_stub(collector.port) as stub:
        for epoch in itertools.count(1):  # until the collector has seen all of them go
            with contextlib.suppress(grpc.RpcError):
                publish(stub, produced, epoch)
                break
    assert stored(collector.folder, produced) == produced.raw


def test_tls_keeps_plaintext_out_and_a_new_certificate_needs_no_restart(start_collector, tmp_path):
    certificate, key = make_certificate(tmp_path, "first")
    collector = start_collector(certificate=str(certificate), key=str(key))
    old = grpc.ssl_channel_credentials(certificate.read_bytes())
    produced = Produced()
    with open_stub(collector.port, old) as stub:
        publish(stub, produced)
    with open_stub(collector.port) as stub:
        assert Publication(stub).send(produced.hello(2)).refusal()[0] == grpc.StatusCode.UNAVAILABLE
    second, second_key = make_certificate(tmp_path, "second")
    fresh = grpc.ssl_channel_credentials(second.read_bytes())
    second_key.replace(key)
    second.replace(certificate)
    with open_stub(collector.port, fresh) as stub:
        assert publish(stub, produced, 3)[0].welcome.durable_seq == 100
    with open_stub(collector.port, old) as stub:
        assert Publication(stub).send(produced.hello(4)).refusal()[0] == grpc.StatusCode.UNAVAILABLE


def test_a_probe_without_tls_is_told_health_and_nothing_else(start_collector, tmp_path):
    certificate, key = make_certificate(tmp_path, "server")
    collector = start_collector(certificate=str(certificate), key=str(key), health="127.0.0.1:0")
    assert health_of(collector.health_port) == health_of(collector.health_port, "") == SERVING
    with open_stub(collector.health_port) as stub:
        assert Publication(stub).send(Produced().hello()).refusal()[0] == grpc.StatusCode.UNIMPLEMENTED
    with grpc.insecure_channel(f"127.0.0.1:{collector.health_port}") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=60)
        assert next(watch).status == SERVING
        assert collector.terminate() == 0
        assert next(watch).status == NOT_SERVING


def test_a_unix_socket_is_a_place_to_listen(start_collector, tmp_path):
    path = tmp_path / "s.sock"
    collector = start_collector(listen=f"unix:{path}")
    produced = Produced()
    from esper_telemetry.v1 import collector_pb2_grpc

    with grpc.insecure_channel(f"unix:{path}") as channel:
        publish(collector_pb2_grpc.CollectorStub(channel), produced)
    assert stored(collector.folder, produced) == produced.raw


def test_a_collector_deletes_what_is_older_than_it_is_to_keep(start_collector):
    produced = Produced()
    for epoch, batch in enumerate(produced.batches, 1):  # each start begins a new segment
        collector = start_collector()
        with open_stub(collector.port) as stub:
            publish(stub, produced, epoch, frames=[batch])
        collector.kill()
    paths = sorted(collector.folder.glob("*/*.esr.zst"))
    assert len(paths) == 4
    for path in paths[:3]:
        os.utime(path, (1, 1))
    collector = start_collector(retention=[{"days": 1}])
    with open_stub(collector.port) as stub:
        while paths[2].exists():
            stub.ListRuns(collector_pb2.ListRunsRequest(), timeout=10)
        assert [path.exists() for path in paths] == [False, False, False, True]
        assert publish(stub, produced, 9)[0].welcome.durable_seq == 100


@pytest.mark.parametrize("taken", ["listen", "health", "metrics"])
def test_a_start_that_fails_leaves_nothing_behind(tmp_path, taken, caplog):
    async def twice(settings: Settings) -> CollectorServer:
        with pytest.raises(ConfigError, match="cannot listen"):
            await CollectorServer(settings).start()
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("collector")]
        assert asyncio.all_tasks() == {asyncio.current_task()}
        server = CollectorServer(replace(settings, **{taken: "127.0.0.1:0"}))
        await server.start()
        await server.stop()

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = Settings(listen="127.0.0.1:0", directory=tmp_path / "runs")
        asyncio.run(twice(replace(settings, **{taken: f"127.0.0.1:{other.getsockname()[1]}"})))
    assert "Traceback" not in caplog.text


def test_a_writer_thread_that_ends_ends_the_collector_with_an_error(tmp_path, caplog):
    async def scenario() -> None:
        server = CollectorServer(Settings(listen="127.0.0.1:0", directory=tmp_path / "runs"))
        await server.start()
        store = server.intake.engine._store
        store._report = None  # what the thread cannot know: a bug outside of what one producer sent
        store.put((await server.intake.engine.restore(ProducerKey("run", bytes(15) + b"1"))).lane, Seal())
        await asyncio.wait_for(server.ended.wait(), 30)
        assert "the writer thread has ended" in server.failure
        assert not server._serving
        await server.stop()

    asyncio.run(scenario())
    assert "the writer thread has ended" in caplog.text


def test_close_ends_a_stream_once_all_is_durable(collector):
    produced = Produced()
    with open_stub(collector.port) as stub:
        stream = Publication(stub).send(produced.hello(), produced.schema, *produced.batches)
        stream.send(produced.close())
        assert stream.acked(100)
        assert all(message.HasField("ack") for message in stream.call)  # to the end, without a half-close
        assert stream.call.code() == grpc.StatusCode.OK


def test_a_collector_without_a_descriptor_left_answers_in_words_and_comes_back(collector):
    produced, pid = Produced(), collector.process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    with open_stub(collector.port) as stub:
        publish(stub, produced)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(list(Path(f"/proc/{pid}/fd").iterdir())), hard))
        codes, unknown = set(), []
        for number in range(30):
            other = Produced(run_id=f"run-{number}")
            calls = [
                stub.ListRuns.future(collector_pb2.ListRunsRequest(), timeout=30),
                stub.GetWatermark.future(
                    collector_pb2.GetWatermarkRequest(run_id=other.run_id, producer_id=other.producer_id), timeout=30
                ),
                stub.PushBatch.future(collector_pb2.PushBatchRequest(hello=other.hello()), timeout=30),
            ]
            codes |= {call.exception() and call.exception().code() for call in calls}
            unknown.append(calls[1].exception())
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        assert codes <= {None, grpc.StatusCode.UNAVAILABLE}
        assert unknown == [None] * 30, "nothing needs to be opened to know that a run is not there"
        assert "Traceback" not in collector.log()
        assert publish(stub, produced, 2)[0].welcome.durable_seq == 100
