"""Asks a collector whether it serves, by the standard health protocol, and says what to do where it does not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from esper_telemetry.errors import ConfigError, MissingExtraError

try:
    from grpc_health.v1 import health_pb2, health_pb2_grpc
except ImportError as error:
    raise MissingExtraError("grpcio-health-checking", "collector") from error

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = "esper_telemetry.v1.Collector"
SERVING = "SERVING"


def ask_health(address: str, ca: Path | None, timeout_s: float) -> str:
    """Return what the collector at `address` says of itself: SERVING, NOT_SERVING, ...; or why it says nothing.

    Args:
        address: "HOST:PORT" or "unix:PATH".
        ca: PEM file of the certificates to trust; it means TLS.
        timeout_s: how long to wait, seconds.

    Raises:
        ConfigError: the PEM file cannot be read.
    """
    try:
        credentials = grpc.ssl_channel_credentials(ca.read_bytes()) if ca is not None else None
    except OSError as error:
        raise ConfigError(f"{ca}: cannot be read: {error}") from error
    channel = grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address)
    with channel:
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout_s)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
