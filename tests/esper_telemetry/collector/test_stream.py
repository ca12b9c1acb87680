import grpc
import pytest

from esper_telemetry.v1 import collector_pb2
from tests.esper_telemetry.collector.publisher import Produced, Publication, open_stub, publish, stored


@pytest.fixture
def collector(shared_collector):
    return shared_collector


@pytest.fixture
def stub(collector):
    with open_stub(collector.port) as stub:
        yield stub


def test_a_stream_ends_well_after_the_last_ack_says_that_all_is_durable(collector, stub):
    produced = Produced()
    answers = publish(stub, produced)
    assert answers[0].WhichOneof("message") == "welcome"
    assert answers[-1].ack.durable_seq == produced.last_seq
    assert stored(collector.folder, produced) == produced.raw


def test_what_an_ack_calls_durable_is_in_the_file_at_that_moment(collector, stub):
    produced = Produced(frames=10)
    stream = Publication(stub).send(produced.hello(), produced.schema)
    for number, batch in enumerate(produced.batches):
        stream.send(batch)
        stream.acked(batch.last_seq)
        assert stored(collector.folder, produced) == produced.raw[: number + 1]
    stream.end().messages()


def test_a_stream_that_resumes_sends_no_schema_and_gets_duplicates_counted(collector, stub):
    produced = Produced()
    first = Publication(stub).send(produced.hello(1), produced.schema, *produced.batches[:2])
    first.acked(50)
    second = Publication(stub).send(produced.hello(2))
    welcome = second.receive("welcome")
    assert (welcome.durable_seq, welcome.need_schema, welcome.session_epoch) == (50, False, 2)
    answers = second.send(*produced.batches).end().messages()
    assert (answers[-1].ack.durable_seq, answers[-1].ack.duplicates) == (100, 2)
    assert first.refusal() == (grpc.StatusCode.ABORTED, "FENCED")
    assert stored(collector.folder, produced) == produced.raw


def together(*batches) -> collector_pb2.ClientMessage:
    return collector_pb2.ClientMessage(batches=collector_pb2.Batches(batches=batches))


def test_frames_in_one_message_are_taken_as_if_each_came_alone(collector, stub):
    produced = Produced(frames=300)
    stream = Publication(stub).send(produced.hello(), produced.schema, together(*produced.batches[:200]))
    stream.send(produced.batches[200], together(*produced.batches[100:]))
    answers = stream.end().messages()
    assert (answers[-1].ack.durable_seq, answers[-1].ack.duplicates) == (produced.last_seq, 101)
    assert stored(collector.folder, produced) == produced.raw


def test_of_frames_in_one_message_those_before_a_bad_one_are_stored(collector, stub):
    produced = Produced()
    bad = collector_pb2.Batch()
    bad.CopyFrom(produced.batches[2])
    bad.crc32 ^= 1
    stream = Publication(stub).send(produced.hello(), produced.schema)
    stream.send(together(*produced.batches[:2], bad, produced.batches[3]))
    assert stream.refusal() == (grpc.StatusCode.DATA_LOSS, "CHECKSUM")
    again = Publication(stub).send(produced.hello(2))
    assert again.receive("welcome").durable_seq == produced.batches[1].last_seq
    again.send(together(*produced.batches[2:])).end().messages()
    assert stored(collector.folder, produced) == produced.raw


def test_a_message_for_several_frames_that_has_none_is_refused(stub):
    produced = Produced()
    stream = Publication(stub).send(produced.hello(), produced.schema, together())
    assert stream.refusal() == (grpc.StatusCode.INVALID_ARGUMENT, "MESSAGE_ORDER")


def test_a_push_takes_frames_in_one_message_too(collector, stub):
    produced = Produced()
    messages = [collector_pb2.ClientMessage(schema=produced.schema), together(*produced.batches)]
    ack = stub.PushBatch(collector_pb2.PushBatchRequest(hello=produced.hello(), messages=messages), timeout=60)
    assert ack.durable_seq == produced.last_seq
    assert stored(collector.folder, produced) == produced.raw


def test_a_gap_is_answered_with_the_number_to_resend_from(collector, stub):
    produced = Produced()
    stream = Publication(stub).send(produced.hello(), produced.schema, produced.batches[0], produced.batches[2])
    ack = stream.receive("ack")
    while not ack.resend_from:
        ack = stream.receive("ack")
    assert ack.resend_from == 26
    answers = stream.send(*produced.batches[1:]).end().messages()
    assert answers[-1].ack.durable_seq == 100
    assert stored(collector.folder, produced) == produced.raw


def test_a_skip_fills_a_hole_and_is_stored(collector, stub):
    produced = Produced()
    skip = collector_pb2.Skip(first_seq=26, last_seq=50, reason=collector_pb2.SKIP_REASON_CORRUPT)
    stream = Publication(stub).send(produced.hello(), produced.schema, produced.batches[0], skip, *produced.batches[2:])
    answers = stream.send(produced.close()).end().messages()
    assert answers[-1].ack.durable_seq == 100
    assert stored(collector.folder, produced) == [produced.raw[0], *produced.raw[2:]]


def test_a_heartbeat_comes_back_as_it_was(stub):
    stream = Publication(stub).send(Produced().hello())
    stream.send(collector_pb2.Heartbeat(sent_unix_nano=42))
    assert stream.receive("heartbeat").sent_unix_nano == 42
    stream.end().messages()


def test_a_silent_client_is_told_to_go(start_collector):
    collector = start_collector(limits={"heartbeat_s": 0.2})
    with open_stub(collector.port) as stub:
        stream = Publication(stub).send(Produced().hello())
        assert stream.receive("welcome").heartbeat_ms == 200
        assert stream.refusal() == (grpc.StatusCode.DEADLINE_EXCEEDED, "IDLE")


def test_a_stream_without_hello_is_ended(start_collector):
    collector = start_collector(limits={"hello_s": 0.2})
    with open_stub(collector.port) as stub:
        assert Publication(stub).refusal() == (grpc.StatusCode.DEADLINE_EXCEEDED, "HELLO_TIMEOUT")


def test_a_client_that_never_reads_its_acks_holds_up_nobody(collector, stub):
    deaf, other = Produced(frames=300, per_frame=2), Produced()
    stream = Publication(stub).send(deaf.hello(), deaf.schema)
    for batch in deaf.batches:
        stream.send(collector_pb2.Heartbeat(sent_unix_nano=1), batch)
    publish(stub, other)
    assert stored(collector.folder, other) == other.raw
    assert stream.end().messages()[-1].ack.durable_seq == deaf.last_seq
    assert stored(collector.folder, deaf) == deaf.raw


def test_many_streams_at_once_each_get_everything(collector, stub):
    producers = [Produced() for _ in range(40)]
    streams = [Publication(stub).send(each.hello(), each.schema) for each in producers]
    for number in range(4):
        for stream, produced in zip(streams, producers, strict=True):
            stream.send(produced.batches[number])
    for stream, produced in zip(streams, producers, strict=True):
        assert stream.send(produced.close()).end().messages()[-1].ack.durable_seq == 100
    for produced in producers:
        assert stored(collector.folder, produced) == produced.raw
