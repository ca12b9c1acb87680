"""Asks a collector whether it serves, by the standard health protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from esper_telemetry.errors import MissingExtraError

try:
    from grpc_health.v1 import health_pb2, health_pb2_grpc
except ImportError as error:
    raise MissingExtraError("grpcio-health-checking", "collector") from error

if TYPE_CHECKING:
    from typing import Any

SERVICE = "esper_telemetry.v1.Collector"
SERVING = "SERVING"


def ask_health(endpoint: Any, timeout_s: float) -> str:
    """Return the health of the collector at an Endpoint: SERVING, NOT_SERVING, ...; or why it does not answer.

    Args:
        endpoint: an `uplink.endpoint.Endpoint`, or what opens channels like one.
        timeout_s: how long to wait, seconds.

    Raises:
        ConfigError: a PEM or token file cannot be read.
    """
    with endpoint.channel() as channel:
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout_s, metadata=endpoint.metadata)
        except grpc.RpcError as error:
            wrong = endpoint.misconfiguration() if error.code() is grpc.StatusCode.UNAVAILABLE else ""
            return wrong or f"{error.code().name}: {error.details()}"
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
