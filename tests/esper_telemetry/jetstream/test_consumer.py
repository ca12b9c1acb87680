"""Consumers as processes behind real gateways: killed, frozen and started again, every number is kept once."""

from __future__ import annotations

import asyncio
import signal
import time

import grpc
import pytest

from esper_telemetry.jetstream.connection import JetStream
from esper_telemetry.jetstream.deployment import LogSettings, Names
from esper_telemetry.jetstream.leases import Lease, lease_key
from esper_telemetry.recordfile import RecordReader, verify
from esper_telemetry.v1 import collector_pb2
from tests.esper_telemetry.collector.publisher import Produced, Publication, open_stub, publish, refusal_of
from tests.esper_telemetry.commands.conftest import run_cli
from tests.esper_telemetry.jetstream import consumer_process
from tests.esper_telemetry.jetstream.deployment import Deployment
from tests.esper_telemetry.jetstream.natscluster import wait_until


@pytest.fixture
def deployment(nats_server, tmp_path, request):
    one = Deployment(tmp_path, nats_server.url, 1, "--log-name", f"log{abs(hash(request.node.nodeid))}")
    yield one
    one.stop()


def begin(stub, produced, epoch=1) -> Publication:
    """Open a stream and have it welcomed."""
    stream = Publication(stub).send(produced.hello(epoch))
    assert stream.receive("welcome").durability == collector_pb2.DURABILITY_CONSUMER
    return stream.send(produced.schema)


def last_seq(folder) -> int:
    """Return the last number in the files of a folder."""
    last = 0
    for path in folder.glob("*/*.esr.zst"):
        with RecordReader(path) as reader:
            last = max(last, *(ref.last_seq for ref in reader.frames()), 0)
    return last


def merged(deployment, path) -> tuple[int, int]:
    """Join the files of all consumers by the command line; return its exit code and the number of events."""
    files = [path for folder in deployment.folders for path in folder.glob("*/*.esr.zst")]
    joined = run_cli("merge", *files, "-o", path)
    assert joined.code in (0, 3), joined.err
    return joined.code, run_cli("cat", path).out.count("\n")


def kept(deployment, produced) -> list[bytes]:
    return deployment.stored(produced.run_id, produced.producer_id)


def test_a_consumer_that_was_killed_before_it_told_takes_away_what_its_successor_stored_again(deployment, tmp_path):
    produced, silence = Produced(), tmp_path / "silence"
    first = deployment.add_consumer(program=(consumer_process.__file__, f"mute:{silence}"))
    deployment.add_gateway()
    with open_stub(deployment.ports[0]) as stub:
        stream = begin(stub, produced)
        stream.send(*produced.batches[:2])
        stream.acked(50)
        silence.touch()
        stream.send(*produced.batches[2:])
        wait_until(lambda: last_seq(deployment.folders[0]) == 100, "the first consumer to store everything")
        first.kill()
        deployment.add_consumer()
        stream.acked(100)
        stream.send(produced.close()).end().messages()
    with pytest.raises(AssertionError, match="overlap"):
        kept(deployment, produced)
    assert merged(deployment, tmp_path / "overlapping.esr.zst") == (0, 100), "merge leaves out what is there twice"
    silence.unlink()
    first.start()
    assert merged(deployment, tmp_path / "whole.esr.zst") == (0, 100)
    assert "numbers behind 50 are another consumer's" in first.log()
    assert kept(deployment, produced) == produced.raw
    assert last_seq(deployment.folders[0]) == 50


def frame_counts(folder) -> list[int]:
    """Return how many frames each file of a folder has."""
    counts = []
    for path in sorted(folder.glob("*/*.esr.zst")):
        with RecordReader(path) as reader:
            counts.append(len(list(reader.frames())))
    return counts


def numbers(deployment, produced) -> list[int]:
    """Return the numbers of the events of a producer in all folders, sorted."""
    found = []
    for path in (path for folder in deployment.folders for path in folder.glob("*/*.esr.zst")):
        assert verify(path).good, path
        with RecordReader(path) as reader:
            if reader.header.producer_id == produced.producer_id:
                found += [event.seq for event in reader.events()]
    return sorted(found)


def test_what_a_consumer_has_sealed_is_compacted_and_kept_once_though_it_is_killed(deployment):
    many = [Produced(frames=60, per_frame=5) for _ in range(4)]
    consumer = deployment.add_consumer("--compact", "--metrics", "127.0.0.1:0")
    deployment.add_gateway()
    for produced in many[:3]:
        with open_stub(deployment.ports[0]) as stub:
            publish(stub, produced)
        consumer.kill()
        consumer.start()
    with open_stub(deployment.ports[0]) as stub:
        stream = begin(stub, many[3])
        stream.send(*many[3].batches[:30])
        stream.acked(150)
        stream.cancel()
    with open_stub(deployment.ports[0]) as stub:
        stream = begin(stub, many[3], epoch=2)
        stream.send(*many[3].batches[30:], many[3].close()).end().messages()
    folder = deployment.folders[0]
    wait_until(lambda: min(frame_counts(folder)) == 1, "a sealed segment to be compacted")
    assert consumer.terminate() == 0
    for produced in many:
        assert numbers(deployment, produced) == list(range(1, 301))
    consumer.start()
    assert consumer.terminate() == 0
    for produced in many:
        assert numbers(deployment, produced) == list(range(1, 301))


def test_what_no_watermark_covers_is_not_compacted_and_is_cut_where_its_successor_began(deployment, tmp_path):
    produced, silence = Produced(frames=60, per_frame=5), tmp_path / "silence"
    first = deployment.add_consumer("--compact", program=(consumer_process.__file__, f"mute:{silence}"))
    deployment.add_gateway()
    with open_stub(deployment.ports[0]) as stub:
        stream = begin(stub, produced)
        stream.send(*produced.batches[:10])
        stream.acked(50)
        silence.touch()
        stream.send(*produced.batches[10:], produced.close())
        wait_until(lambda: last_seq(deployment.folders[0]) == 300, "the first consumer to store everything")
        time.sleep(2)  # what it must not do would be done by now
        assert frame_counts(deployment.folders[0]) == [60]
        first.kill()
        deployment.add_consumer("--compact")
        stream.end().messages()
    silence.unlink()
    first.start()
    wait_until(lambda: numbers(deployment, produced) == list(range(1, 301)), "each number to be there once")
    assert last_seq(deployment.folders[0]) == 50
    assert [each.terminate() for each in deployment.consumers] == [0, 0]
    assert numbers(deployment, produced) == list(range(1, 301))


def test_a_consumer_that_stood_still_while_another_took_its_partitions_finds_out(deployment):
    produced = Produced(frames=40)
    first = deployment.add_consumer()
    deployment.add_gateway()
    with open_stub(deployment.ports[0]) as stub:
        stream = begin(stub, produced)
        stream.send(*produced.batches[:20])
        stream.acked(20 * 25)
        first.signal(signal.SIGSTOP)
        deployment.add_consumer()
        stream.send(*produced.batches[20:30])
        stream.acked(30 * 25)
        first.signal(signal.SIGCONT)
        stream.send(*produced.batches[30:], produced.close()).end().messages()
    assert [consumer.terminate() for consumer in deployment.consumers] == [0, 0]
    assert kept(deployment, produced) == produced.raw


def test_a_consumer_that_starts_again_goes_on_in_its_own_folder(deployment):
    produced = Produced()
    consumer = deployment.add_consumer()
    deployment.add_gateway()
    with open_stub(deployment.ports[0]) as stub:
        stream = begin(stub, produced)
        stream.send(*produced.batches[:2])
        stream.acked(50)
        consumer.kill()
        consumer.start()
        stream.send(*produced.batches[2:], produced.close()).end().messages()
    assert kept(deployment, produced) == produced.raw
    again = deployment.consumers[0]
    assert again.terminate() == 0


def test_a_producer_that_changes_gateways_loses_nothing_and_the_stream_it_left_is_fenced(deployment):
    produced = Produced(frames=8)
    deployment.add_consumer()
    deployment.add_gateway()
    deployment.add_gateway()
    with open_stub(deployment.ports[0]) as one, open_stub(deployment.ports[1]) as other:
        left = begin(one, produced, epoch=1).send(*produced.batches[:4])
        stream = Publication(other).send(produced.hello(2))
        durable = stream.receive("welcome").durable_seq
        assert left.refusal() == (grpc.StatusCode.ABORTED, "FENCED")
        left.cancel()
        stream.send(produced.schema, *(batch for batch in produced.batches if batch.first_seq > durable))
        stream.send(produced.close()).end().messages()
        known = one.GetWatermark(
            collector_pb2.GetWatermarkRequest(run_id=produced.run_id, producer_id=produced.producer_id)
        )
        assert (known.durable_seq, known.session_epoch) == (200, 2), "each gateway knows what consumers know"
        late = Publication(one).send(produced.hello(2))
        assert late.refusal() == (grpc.StatusCode.ABORTED, "FENCED")
    assert kept(deployment, produced) == produced.raw


def test_of_two_streams_with_one_epoch_at_two_gateways_one_writes(deployment):
    produced = Produced()
    deployment.add_consumer()
    deployment.add_gateway()
    deployment.add_gateway()
    with open_stub(deployment.ports[0]) as one, open_stub(deployment.ports[1]) as other:
        streams = [Publication(stub).send(produced.hello(1)) for stub in (one, other)]
        outcomes = []
        for stream in streams:
            try:
                stream.receive("welcome")
                stream.send(produced.schema, *produced.batches, produced.close()).end().messages()
                outcomes.append("stored")
            except grpc.RpcError as error:
                outcomes.append(refusal_of(error)[1])
    assert "stored" in outcomes
    assert set(outcomes) <= {"stored", "FENCED"}
    assert kept(deployment, produced) == produced.raw


def test_a_gateway_without_consumers_says_what_is_missing_and_serves_no_readers(deployment):
    produced = Produced()
    deployment.add_gateway()
    with open_stub(deployment.ports[0]) as stub:
        stream = Publication(stub).send(produced.hello())
        with pytest.raises(grpc.RpcError, match=r"is `esper-telemetry consume` running") as caught:
            stream.receive("welcome")
        assert refusal_of(caught.value) == (grpc.StatusCode.UNAVAILABLE, "STORAGE")
        for call in (
            lambda: list(stub.Subscribe(collector_pb2.SubscribeRequest(run_id=produced.run_id))),
            lambda: stub.ListRuns(collector_pb2.ListRunsRequest()),
        ):
            with pytest.raises(grpc.RpcError, match="esper-telemetry tail DIR/RUN_ID") as caught:
                call()
            assert refusal_of(caught.value) == (grpc.StatusCode.UNIMPLEMENTED, "ELSEWHERE")


def test_a_consumer_whose_disk_is_full_leaves_the_partitions_to_others(deployment):
    produced = Produced()
    full = deployment.add_consumer("--min-free", 100)
    assert "of the disk is free, 100.0% must be" in full.log()
    other = deployment.add_consumer()
    wait_until(lambda: other.log().count(": acquired from") == 4, "the other to have all four partitions")
    deployment.add_gateway()
    with open_stub(deployment.ports[0]) as stub:
        publish(stub, produced)
    assert kept(deployment, produced) == produced.raw
    assert not list(deployment.folders[0].glob("*/*.esr.zst"))
    assert ": acquired from" not in full.log()


def test_a_consumer_without_partitions_says_what_it_waits_for(deployment):
    first = deployment.add_consumer()
    wait_until(lambda: first.log().count(": acquired from") >= 4, "the first to have all partitions")
    second = deployment.add_consumer()
    wait_until(
        lambda: "own all; one that is silent for 5 s loses its own" in second.log(), "the second to say it waits"
    )
    wait_until(lambda: second.log().count(": acquired from") >= 2, "the second to have its share")


def test_a_lease_over_its_share_that_a_consumer_does_not_work_on_comes_to_the_others(deployment, nats_server, request):
    """So it is found where the log had no leader when the lease was to be released."""
    log_name = f"log{abs(hash(request.node.nodeid))}"
    log_settings = LogSettings(servers=nats_server.url, names=Names(log_name), partitions=4, replicas=1)

    async def owners(change: dict[str, str] | None = None) -> list[str]:
        """Return the owners of all partitions; with `change`, after the leases of its keys were given to its values."""
        log, found = JetStream(log_settings, "test"), []
        await log.open()
        for number in range(4):
            entry = await log.get(lease_key(number))
            lease = Lease.from_bytes(entry.value)
            if lease.consumer in (change or {}):
                await log.put(lease_key(number), Lease(change[lease.consumer], lease.generation + 1).to_bytes())
            found.append(lease.consumer)
        await log.close()
        return found

    first = deployment.add_consumer()
    wait_until(lambda: first.log().count("acquired from") == 4, "the first consumer to own all partitions")
    second = deployment.add_consumer()
    wait_until(lambda: second.log().count("acquired from") == 2, "the second consumer to own its share")
    one, other = [(folder / ".consumer.id").read_text() for folder in deployment.folders]
    assert asyncio.run(owners({other: one})) == [one, one, other, other]
    wait_until(lambda: second.log().count("acquired from") == 4, "the second consumer to own its share again", 40)
    assert asyncio.run(owners()) == [one, one, other, other]


def test_two_consumers_share_and_a_folder_belongs_to_one(deployment):
    first = deployment.add_consumer()
    second = deployment.add_consumer()
    for consumer in (first, second):
        wait_until(lambda log=consumer.log: log().count(": acquired from") >= 2, "each to have two of four partitions")
    deployment.add_gateway()
    everything = [Produced(run_id=f"run{n}") for n in range(12)]
    with open_stub(deployment.ports[0]) as stub:
        for produced in everything:
            publish(stub, produced)
    for produced in everything:
        assert kept(deployment, produced) == produced.raw
    assert all(any(folder.iterdir()) for folder in deployment.folders)
    assert first.terminate() == 0
    wait_until(lambda: second.log().count(": acquired from") >= 4, "the other to have all")
