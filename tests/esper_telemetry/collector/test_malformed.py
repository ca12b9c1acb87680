"""Bytes that are no message, to every call of every service: refused, counted, and no traceback."""

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

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
