import grpc
import pytest

from esper_telemetry.v1 import collector_pb2
from tests.esper_telemetry.collector.publisher import (
    Produced,
    Publication,
    client_message,
    open_stub,
    publish,
    refusal_of,
    stored,
)


@pytest.fixture
def collector(shared_collector):
    return shared_collector


@pytest.fixture
def stub(collector):
    with open_stub(collector.port) as stub:
        yield stub


def push(stub, produced, epoch=1, messages=None):
    contents = [produced.schema, *produced.batches, produced.close()] if messages is None else messages
    request = collector_pb2.PushBatchRequest(hello=produced.hello(epoch), messages=map(client_message, contents))
    return stub.PushBatch(request, timeout=60)


def test_a_push_returns_when_everything_is_durable(collector, stub):
    produced = Produced()
    ack = push(stub, produced)
    assert (ack.durable_seq, ack.accepted_seq, ack.duplicates) == (100, 100, 0)
    assert stored(collector.folder, produced) == produced.raw


def test_a_push_of_what_is_there_stores_nothing(collector, stub):
    produced = Produced()
    push(stub, produced)
    assert push(stub, produced, 2).duplicates == 4
    assert stored(collector.folder, produced) == produced.raw


def test_a_push_with_a_bad_message_is_refused_and_what_came_before_it_is_kept(collector, stub):
    produced = Produced()
    with pytest.raises(grpc.RpcError) as caught:
        push(stub, produced, messages=[produced.schema, produced.batches[0], produced.hello(3)])
    assert refusal_of(caught.value) == (grpc.StatusCode.INVALID_ARGUMENT, "MESSAGE_ORDER")
    assert push(stub, produced, 2).duplicates == 1


def test_the_watermark_names_what_is_durable_and_the_last_epoch(collector, stub):
    produced = Produced()
    publish(stub, produced, epoch=7)
    request = collector_pb2.GetWatermarkRequest(
        run_id=produced.run_id, producer_id=produced.producer_id, schema_fingerprint=produced.schema.fingerprint
    )
    welcome = stub.GetWatermark(request, timeout=10)
    assert (welcome.durable_seq, welcome.session_epoch, welcome.need_schema) == (100, 7, False)
    assert welcome.durability == collector_pb2.DURABILITY_FILE
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetWatermark(collector_pb2.GetWatermarkRequest(run_id="../x", producer_id=b"p" * 16), timeout=10)
    assert refusal_of(caught.value) == (grpc.StatusCode.INVALID_ARGUMENT, "IDENTITY")


def test_a_refusal_that_waiting_mends_carries_the_standard_retry_info(start_collector):
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status

    collector = start_collector(limits={"streams": 1})
    with open_stub(collector.port) as stub:
        first = Publication(stub).send(Produced().hello())
        first.receive("welcome")
        with pytest.raises(grpc.RpcError) as caught:
            push(stub, Produced())
        assert refusal_of(caught.value) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STREAMS")
        retry = error_details_pb2.RetryInfo()
        assert rpc_status.from_call(caught.value).details[0].Unpack(retry)
        assert retry.retry_delay.ToMilliseconds() > 0
        first.cancel()
