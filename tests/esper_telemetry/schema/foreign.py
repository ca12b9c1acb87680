"""Message classes of a stranger's, made from descriptors alone: every kind of field, proto2 and proto3.

It needs protobuf and nothing else, so that the oldest protobuf can run it in an environment of its own.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TYPES = {
    name.removeprefix("TYPE_").lower(): number
    for name, number in descriptor_pb2.FieldDescriptorProto.Type.items()
    if name not in ("TYPE_GROUP", "TYPE_MESSAGE")
}
_OPTIONAL, _REQUIRED, _REPEATED = 1, 2, 3


def _kinds(file: Any) -> None:
    enum = file.enum_type.add(name="Kind")
    names = {"KIND_NONE": 0, "KIND_FIRST": 1, "KIND_BELOW": -2, "KIND_FAR": 1 << 30}
    if file.syntax == "proto2":
        del names["KIND_NONE"]
    for name, number in names.items():
        enum.value.add(name=name, number=number)


def _field(file: Any, message: Any, name: str, kind: str, label: int = _OPTIONAL) -> Any:
    field = message.field.add(name=name, number=len(message.field) * 17 + 1, type=_TYPES[kind], label=label)
    if kind == "enum":
        field.type_name = f".{file.package}.Kind"
    return field


def _everything(file: Any) -> None:
    """One message with each type of field: with presence, without, and as a list."""
    message = file.message_type.add(name="Everything")
    for kind in _TYPES:
        field = _field(file, message, kind, kind)
        if file.syntax == "proto3":
            _field(file, message, f"bare_{kind}", kind)
            field.proto3_optional, field.oneof_index = True, len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{kind}")
        _field(file, message, f"many_{kind}", kind, _REPEATED)
    inner = message.field.add(name="inner", number=900, type=11, label=_OPTIONAL)
    inner.type_name = f".{file.package}.Everything"


def _odd(file: Any) -> None:
    """A required field, and a oneof: setting one of its fields unsets the other."""
    message = file.message_type.add(name="Odd")
    _field(file, message, "must", "int32", _REQUIRED if file.syntax == "proto2" else _OPTIONAL)
    message.oneof_decl.add(name="either")
    for name in ("left", "right"):
        _field(file, message, name, "double").oneof_index = 0
    for name in ("len", "int", "type", "str"):  # names of builtins
        _field(file, message, name, "string")


@cache
def foreign(name: str, syntax: str) -> Any:
    """Return the class of the message `name` ("Everything" or "Odd") in "proto2" or "proto3"."""
    package = f"foreign_{syntax}"
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax=syntax)
    for part in (_kinds, _everything, _odd):
        part(file)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))


def scalars() -> list[str]:
    """Return the types of field, by the names that the fields of Everything have."""
    return list(_TYPES)


@cache
def foreign_event(required: str) -> Any:
    """Return a proto2 event class with one required field of this name."""
    from esper_telemetry.v1 import options_pb2

    file = descriptor_pb2.FileDescriptorProto(
        name=f"foreign_{required}.proto",
        package=f"foreign_{required}",
        syntax="proto2",
        dependency=["esper_telemetry/v1/options.proto"],
    )
    message = file.message_type.add(name="Happened")
    _field(file, message, required, "int32", _REQUIRED)
    message.options.Extensions[options_pb2.event].name = f"{required}.happened"
    pool = descriptor_pool.Default()  # where the option is known
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.Happened"))
