"""Event classes of strangers, made from descriptors in pools of their own: two versions of a type live side by side."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from esper_telemetry.v1 import options_pb2

_F = descriptor_pb2.FieldDescriptorProto
TYPES = {"double": _F.TYPE_DOUBLE, "string": _F.TYPE_STRING, "uint64": _F.TYPE_UINT64, "int32": _F.TYPE_INT32}


def event_class(package: str, short: str, **fields: str) -> Any:
    """Return the class `package.Happened`, an event called `short` with optional fields of these types."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}.proto",
        package=package,
        syntax="proto3",
        dependency=["esper_telemetry/v1/options.proto"],
    )
    message = file.message_type.add(name="Happened")
    message.options.Extensions[options_pb2.event].name = short
    for number, (name, kind) in enumerate(fields.items(), 1):
        field = message.field.add(name=name, number=number, type=TYPES[kind], label=1, proto3_optional=True)
        field.oneof_index = number - 1
    for name in fields:
        message.oneof_decl.add(name=f"_{name}")
    pool = descriptor_pool.DescriptorPool()
    for known in (descriptor_pb2.DESCRIPTOR, options_pb2.DESCRIPTOR):
        pool.AddSerializedFile(known.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Happened"))
