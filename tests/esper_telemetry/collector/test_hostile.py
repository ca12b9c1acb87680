"""Clients that mean harm, against a real process: each is refused as the table says, and others notice nothing."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from zlib import crc32

import grpc
import pytest
import zstandard

from esper_telemetry.recordfile.layout import Descriptor, pack_descriptor
from esper_telemetry.v1 import collector_pb2
from tests.esper_telemetry.collector.publisher import (
    Produced,
    Publication,
    client_message,
    open_stub,
    publish,
    stored,
)

INVALID = grpc.StatusCode.INVALID_ARGUMENT
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture
def collector(shared_collector):
    return shared_collector


@pytest.fixture
def scene(collector):
    """A collector with a good stream that is open all the time and must get everything through at the end."""
    good = Produced(frames=6)
    with open_stub(collector.port) as stub, open_stub(collector.port) as other:
        bystander = Publication(other).send(good.hello(), good.schema, *good.batches[:2])
        bystander.acked(50)
        yield collector, stub
        assert bystander.send(*good.batches[2:], good.close()).end().messages()[-1].ack.durable_seq == 150
    assert stored(collector.folder, good) == good.raw
    outside = [path.name for path in collector.folder.parent.iterdir()]
    assert sorted(outside) == ["collector.log", collector.folder.name]
    own = {".collector.lock", ".collector.clock", ".collector.index", ".collector.index-wal"}
    assert {path.name for path in collector.folder.iterdir()} <= {*own, good.run_id}


def assert_serves(collector) -> None:
    """A client that comes now, on a connection of its own, is welcomed and gets everything stored."""
    fresh = Produced(frames=2)
    with open_stub(collector.port) as stub:
        assert publish(stub, fresh)[-1].ack.durable_seq == fresh.last_seq
    assert stored(collector.folder, fresh) == fresh.raw
    assert collector.process.poll() is None
    assert "Traceback" not in collector.log()


def refused(stub, *contents):
    return Publication(stub).send(*contents).refusal()


@pytest.mark.parametrize("run_id", ["../../x", "/etc/x", "..", "", "a/b", "a\0b", "x" * 5000, "\u202e"])
def test_a_run_id_that_is_a_path(scene, run_id):
    _, stub = scene
    assert refused(stub, Produced().hello(run_id=run_id)) == (INVALID, "IDENTITY")


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"producer_id": b"short"}, (INVALID, "IDENTITY")),
        ({"session_epoch": 0}, (grpc.StatusCode.ABORTED, "FENCED")),
        ({"min_protocol": 2, "max_protocol": 9}, (PRECONDITION, "PROTOCOL")),
        ({"codecs": [5]}, (PRECONDITION, "PROTOCOL")),
        ({"labels": {str(n): "x" * 100 for n in range(1000)}}, (EXHAUSTED, "TOO_BIG")),
    ],
)
def test_a_hello_that_cannot_be(scene, changes, wanted):
    _, stub = scene
    assert refused(stub, Produced().hello(**changes)) == wanted


def test_messages_at_the_wrong_place(scene):
    _, stub = scene
    produced = Produced()
    order = (INVALID, "MESSAGE_ORDER")
    assert refused(stub, produced.batches[0]) == order
    assert refused(stub, collector_pb2.ClientMessage()) == order
    assert refused(stub, produced.hello(1), produced.hello(2)) == order
    assert refused(stub, produced.hello(3), produced.batches[0]) == (PRECONDITION, "SCHEMA_UNKNOWN")
    end = collector_pb2.Close(final_seq=0)
    assert refused(stub, produced.hello(4), end, produced.batches[0]) == order
    assert Publication(stub).end().refusal() == order


def test_a_schema_of_another_run_or_with_garbage(scene):
    _, stub = scene
    produced, other = Produced(), Produced(run_id="another")
    assert refused(stub, produced.hello(1), other.schema) == (PRECONDITION, "SCHEMA_INVALID")
    forged = collector_pb2.Schema(fingerprint=produced.schema.fingerprint)
    forged.header.CopyFrom(produced.schema.header)
    forged.header.file_descriptor_set = os.urandom(1000)
    assert refused(stub, produced.hello(2), forged) == (PRECONDITION, "SCHEMA_INVALID")


def forge(batch, **changes):
    forged = collector_pb2.Batch()
    forged.CopyFrom(batch)
    for name, value in changes.items():
        setattr(forged, name, value)
    return forged


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"crc32": 1}, (grpc.StatusCode.DATA_LOSS, "CHECKSUM")),
        ({"count": 1}, (INVALID, "FRAME_INVALID")),
        ({"first_seq": 0}, (INVALID, "FRAME_INVALID")),
        ({"last_seq": 1 << 40}, (INVALID, "FRAME_INVALID")),
        ({"raw_len": 1}, (INVALID, "FRAME_INVALID")),
        ({"raw_len": 1 << 31}, (EXHAUSTED, "TOO_BIG")),
        ({"codec": 99}, (INVALID, "FRAME_INVALID")),
        ({"payload": b"", "crc32": 0}, (INVALID, "FRAME_INVALID")),
        ({"payload": b"garbage" * 100, "crc32": crc32(b"garbage" * 100)}, (INVALID, "FRAME_INVALID")),
        ({"schema_fingerprint": b"x" * 32}, (PRECONDITION, "SCHEMA_UNKNOWN")),
    ],
)
def test_a_forged_batch(scene, changes, wanted):
    _, stub = scene
    produced = Produced()
    assert refused(stub, produced.hello(), produced.schema, forge(produced.batches[0], **changes)) == wanted


def test_a_bomb(scene):
    _, stub = scene
    produced = Produced()
    zeros = bytes(4 << 20)
    frame = zstandard.ZstdCompressor(write_checksum=True).compress(zeros)
    desc = Descriptor(len(frame), len(zeros), 1, 1, 1, 1, 0, 0)
    payload = frame + pack_descriptor(desc)
    bomb = collector_pb2.Batch(
        first_seq=1, last_seq=1, count=1, raw_len=len(zeros), crc32=crc32(payload), payload=payload
    )
    assert refused(stub, produced.hello(), produced.schema, bomb) == (INVALID, "FRAME_INVALID")


def test_a_message_that_is_too_big_for_any_limit(scene):
    _, stub = scene
    produced = Produced()
    huge = forge(produced.batches[0], payload=bytes(64 << 20))
    assert refused(stub, produced.hello(), produced.schema, huge) == (EXHAUSTED, "")


def test_numbers_that_cannot_follow(scene):
    _, stub = scene
    produced = Produced()
    start = [produced.schema, produced.batches[0]]
    skip = collector_pb2.Skip(first_seq=30, last_seq=26)
    assert refused(stub, produced.hello(1), *start, skip) == (INVALID, "NUMBERS")
    skip = collector_pb2.Skip(first_seq=26, last_seq=(1 << 64) - 1)
    assert refused(stub, produced.hello(2), *start, skip) == (INVALID, "NUMBERS")
    ahead = [produced.batches[2]] * 80
    assert refused(stub, produced.hello(3), *start, *ahead) == (grpc.StatusCode.OUT_OF_RANGE, "GAP")
    skip = collector_pb2.Skip(first_seq=26, last_seq=30)
    assert refused(stub, produced.hello(4), *start, skip, produced.batches[1]) == (INVALID, "NUMBERS")
    early = collector_pb2.Close(final_seq=1)
    assert refused(stub, produced.hello(5), *start, early) == (INVALID, "NUMBERS")


def test_a_stolen_producer_id(scene):
    _, stub = scene
    produced = Produced()
    victim = Publication(stub).send(produced.hello())
    victim.receive("welcome")
    thief = Produced(run_id="another", producer_id=produced.producer_id)
    assert refused(stub, thief.hello()) == (grpc.StatusCode.ALREADY_EXISTS, "PRODUCER_TAKEN")
    victim.end().messages()


def test_a_server_still_serves_after_garbage_instead_of_http2_and_streams_that_are_torn_off(scene):
    collector, stub = scene
    rng = random.Random(4)
    for _ in range(30):
        with socket.create_connection(("127.0.0.1", collector.port)) as raw:
            raw.sendall(rng.randbytes(rng.randrange(1, 3000)))
    for _ in range(30):
        produced = Produced(frames=2)
        stream = Publication(stub).send(produced.hello(run_id=f"torn{rng.random()}"[:20]))
        stream.receive("welcome")
        stream.cancel()
    assert_serves(collector)


@pytest.mark.slow
def test_ten_thousand_hellos_that_never_say_more_leave_nothing_and_hold_up_nobody(start_collector):
    collector = start_collector()
    produced = Produced()
    with open_stub(collector.port) as stub:
        for start in range(0, 10_000, 200):
            calls = []
            for number in range(start, start + 200):
                hello = produced.hello(run_id=f"flood-{number}", producer_id=(number + 1).to_bytes(16, "big"))
                calls.append(stub.PushBatch.future(collector_pb2.PushBatchRequest(hello=hello), timeout=250))
            if start == 5000:
                good = Produced()
                assert publish(stub, good)[-1].ack.durable_seq == good.last_seq
            assert all(call.result().durable_seq == 0 for call in calls)
    assert stored(collector.folder, good) == good.raw
    assert [path.name for path in collector.folder.glob("*") if path.is_dir()] == [good.run_id]


def code_of(call):
    """Return the status with which a raw call ends."""
    with contextlib.suppress(grpc.RpcError):
        list(call)
    return call.code()


def test_bytes_that_were_changed_at_random_never_hurt_anybody_else(scene):
    collector, _ = scene
    rng = random.Random(5)
    produced = Produced(frames=3)
    codes = set()
    whole = [client_message(each) for each in (produced.hello(), produced.schema, *produced.batches, produced.close())]
    with grpc.insecure_channel(f"127.0.0.1:{collector.port}") as channel:
        publish_raw = channel.stream_stream("/esper_telemetry.v1.Collector/Publish")
        for epoch in range(1, 250):
            whole[0].hello.session_epoch = epoch
            messages = [bytearray(message.SerializeToString()) for message in whole]
            for _ in range(rng.randrange(1, 4)):
                victim = messages[rng.randrange(len(messages))]
                at = rng.randrange(len(victim))
                victim[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
            if rng.random() < 0.3:
                rng.shuffle(messages)
            codes.add(code_of(publish_raw(map(bytes, messages), timeout=30)))
    unplanned = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DEADLINE_EXCEEDED}
    assert not codes & unplanned
    assert_serves(collector)
    assert len(codes) >= 4, "the mutations reach several checks"
