"""Server reflection in both versions that clients ask for: v1 (grpcurl, buf curl, Postman) and v1alpha (older ones).

grpcio-reflection serves v1alpha only. The messages of both are the same on the wire and differ in the package's name:
v1 is answered by the same servicer, and its descriptor is made from that of v1alpha.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from esper_telemetry.errors import MissingExtraError

try:
    from google.protobuf import descriptor_pb2, descriptor_pool
    from grpc_reflection.v1alpha import reflection, reflection_pb2
except ImportError as error:
    raise MissingExtraError("grpcio-reflection", "collector") from error

if TYPE_CHECKING:
    from collections.abc import Iterable

_OLD, _NEW = "grpc.reflection.v1alpha", "grpc.reflection.v1"
SERVICES = (f"{_NEW}.ServerReflection", reflection.SERVICE_NAME)
"""Full names of both services."""


def add_reflection(services: Iterable[str], server: Any) -> None:
    """Serve reflection of `services`, and of itself, on a server of grpc.aio."""
    names = [*services, *SERVICES]
    reflection.enable_server_reflection(names, server, pool=_pool())
    servicer = reflection.aio.ReflectionServicer(names, pool=_pool())
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICES[0], {"ServerReflectionInfo": method}),)
    )


def _pool() -> Any:
    """Return the default pool, with the descriptor of v1 in it."""
    pool = descriptor_pool.Default()
    try:
        pool.FindFileContainingSymbol(SERVICES[0])
    except KeyError:
        file = descriptor_pb2.FileDescriptorProto()
        reflection_pb2.DESCRIPTOR.CopyToProto(file)
        pool.Add(_renamed(file))
    return pool


def _renamed(file: descriptor_pb2.FileDescriptorProto) -> descriptor_pb2.FileDescriptorProto:
    """Return the descriptor under the name of v1: package, file and every reference to a type."""
    file.name, file.package = "grpc/reflection/v1/reflection.proto", _NEW
    for message in file.message_type:
        for field in filter(lambda field: field.type_name, message.field):
            field.type_name = field.type_name.replace(f".{_OLD}.", f".{_NEW}.")
    for method in (method for service in file.service for method in service.method):
        method.input_type = method.input_type.replace(f".{_OLD}.", f".{_NEW}.")
        method.output_type = method.output_type.replace(f".{_OLD}.", f".{_NEW}.")
    return file
