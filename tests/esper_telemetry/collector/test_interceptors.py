"""What happens to calls before their handlers: malformed requests are refused, calls without a token are counted."""

import asyncio
import contextlib

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.esper_telemetry.collector.publisher import Produced, open_stub, publish, refusal_of
from tests.esper_telemetry.collector.test_server import metric

OURS = "/esper_telemetry.v1.Collector/"
UNARY = [OURS + name for name in ("PushBatch", "GetWatermark", "ListRuns", "DeleteRun")] + [
    "/grpc.health.v1.Health/Check"
]
STREAMS = [OURS + "Subscribe", "/grpc.health.v1.Health/Watch"]
JUNK = b"\xff" * 10


def status_of(port: int, method: str) -> tuple[grpc.StatusCode, str]:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        if method in STREAMS:
            call = channel.unary_stream(method)(JUNK, timeout=30)
        else:
            call = channel.unary_unary(method).future(JUNK, timeout=30)
        return refusal_of(call.exception())


def test_junk_is_refused_in_words_of_the_protocol(collector):
    for method in (*UNARY, *STREAMS):
        assert status_of(collector.port, method) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED"), method
    with grpc.insecure_channel(f"127.0.0.1:{collector.port}") as channel:
        call = channel.stream_stream(OURS + "Publish")(iter([JUNK]), timeout=30)
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        assert refusal_of(caught.value) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED")
        reflection = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        (answer,) = reflection(iter([JUNK]), timeout=30)
        assert b"argument" in answer.lower()
        assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30).status
    assert metric(collector, "esper_collector_refused_total") == len(UNARY) + len(STREAMS) + 1
    with open_stub(collector.port) as stub:
        publish(stub, Produced())
    assert "Traceback" not in collector.log()


EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture
def channel(start_collector):
    collector = start_collector(limits={"watches": 5})
    with grpc.insecure_channel(f"127.0.0.1:{collector.port}") as channel:
        yield collector, channel


def watch(channel):
    """Open a health watch and wait for its first answer, or its refusal."""
    call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
    with contextlib.suppress(grpc.RpcError):
        next(call)
        return call, None
    return call, call.code()


def until_one_more(channel):
    """Open a watch as soon as there is a place again; a call's end is noticed by the server a moment later."""
    while True:
        call, refused = watch(channel)
        if refused is None:
            return call
        assert refused == EXHAUSTED


def test_watches_beyond_the_budget_are_refused_and_callers_with_frames_are_not(channel):
    collector, channel = channel
    open_calls = [watch(channel) for _ in range(5)]
    assert all(refused is None for _, refused in open_calls)
    assert watch(channel)[1] == EXHAUSTED
    assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10).status
    with open_stub(collector.port) as stub:
        publish(stub, Produced())
    open_calls[0][0].cancel()
    until_one_more(channel)


def test_reflection_takes_places_of_the_same_budget_and_gives_them_back(channel):
    _, channel = channel
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    for _ in range(20):
        found = list(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([ask]), timeout=60))
        assert found[0].list_services_response.service
    kept = [watch(channel) for _ in range(5)]
    assert all(refused is None for _, refused in kept)
    with pytest.raises(grpc.RpcError) as caught:
        list(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([ask]), timeout=60))
    assert caught.value.code() == EXHAUSTED


def test_a_connection_that_breaks_gives_its_places_back(channel):
    collector, channel = channel
    for _ in range(3):
        with grpc.insecure_channel(
            f"127.0.0.1:{collector.port}", [("grpc.use_local_subchannel_pool", 1)]
        ) as short_lived:
            calls = [watch(short_lived)[0] for _ in range(5)]
            assert calls
    assert until_one_more(channel)


def test_a_watch_of_a_service_that_is_not_there_takes_one_place_only(channel):
    _, channel = channel
    request = health_pb2.HealthCheckRequest(service="nothing")
    calls = [health_pb2_grpc.HealthStub(channel).Watch(request, timeout=60) for _ in range(5)]
    assert all(next(call).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN for call in calls)
    assert watch(channel)[1] == EXHAUSTED


def test_what_no_handler_sees_is_counted(start_collector):
    collector = start_collector(limits={"watches": 1, "streams": 1, "readers": 1, "hello_s": 60.0})
    address, own = f"127.0.0.1:{collector.port}", [("grpc.use_local_subchannel_pool", 1)]

    async def scenario() -> None:
        async with contextlib.AsyncExitStack() as stack:
            # A connection has 65 calls at most, all of them 259.
            channels = [await stack.enter_async_context(aio.insecure_channel(address, own)) for _ in range(6)]
            with pytest.raises(grpc.RpcError) as caught:
                await channels[0].unary_unary(OURS + "NotThere")(b"", timeout=30)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
            calls = [channel.stream_stream(OURS + "Publish")(timeout=60) for channel in channels for _ in range(60)]
            ended = asyncio.as_completed([asyncio.ensure_future(call.code()) for call in calls])
            assert await next(ended) is EXHAUSTED
            for call in calls:
                call.cancel()

    asyncio.run(scenario())
    assert metric(collector, "esper_collector_grpc_refused_total") >= 2
