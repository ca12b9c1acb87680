"""Descriptors in and out of a record: what a writer embeds, what a reader without our code uses.

A file's descriptors come from the generated class; its comments from `schema.binpb`,
which a package may ship beside its generated modules
(`protoc --include_source_info --descriptor_set_out=acme/v1/schema.binpb`).
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from esper_telemetry.errors import CorruptRecordError, SchemaError
from esper_telemetry.schema.event_type import event_type
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

MAX_DESCRIPTOR_BYTES = 1 << 20


def proto_include() -> Path:
    """Return the folder to pass to protoc as -I when compiling events of one's own."""
    installed = Path(__file__).resolve().parent.parent / "proto"
    return installed if installed.is_dir() else installed.parent.parent / "proto"


def file_closure(classes: Iterable[type[Message]], known: Iterable[str] = ()) -> descriptor_pb2.FileDescriptorSet:
    """Return the .proto files that `classes` need, in dependency order, comments included where known.

    Args:
        classes: generated message classes.
        known: names of files to leave out, with all they import.

    Raises:
        SchemaError: the set is over the limit of the format (1 MiB).
    """
    seen = set(known)
    closure = descriptor_pb2.FileDescriptorSet()

    def add(file: Any, cls: type[Message] | None) -> None:
        if file.name in seen:
            return
        seen.add(file.name)
        for dependency in file.dependencies:
            add(dependency, None)
        closure.file.add().CopyFrom(_with_comments(file, cls))

    for cls in classes:
        add(cls.DESCRIPTOR.file, cls)
    if closure.ByteSize() > MAX_DESCRIPTOR_BYTES:
        raise SchemaError(
            f"the schemas take {closure.ByteSize():,} bytes of descriptors, over the format's {MAX_DESCRIPTOR_BYTES:,};"
            " split the .proto files so that the events import less"
        )
    return closure


def envelope_closure() -> descriptor_pb2.FileDescriptorSet:
    """Return the files of the envelope, which every first header carries."""
    return file_closure([record_pb2.RecordFile])


def _with_comments(file: Any, cls: type[Message] | None) -> descriptor_pb2.FileDescriptorProto:
    plain = descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb)
    commented = commented_files(folder_of(cls.__module__ if cls is not None else _module_name(file.name))).get(
        file.name
    )
    if commented is not None and _structure(commented) == _structure(plain):
        plain.source_code_info.CopyFrom(commented.source_code_info)
    return plain


def _module_name(proto: str) -> str:
    return proto.removesuffix(".proto").replace("/", ".").replace("-", "_") + "_pb2"


def folder_of(module: str) -> Path | None:
    """Return the folder of a loaded module; None if it is none, or has no file."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file).parent if file else None


@cache
def commented_files(folder: Path | None) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    """Return name → file of the `schema.binpb` of a package; a missing or foreign one only costs the comments."""
    if folder is None:
        return {}
    try:
        files = descriptor_pb2.FileDescriptorSet.FromString((folder / "schema.binpb").read_bytes()).file
    except (OSError, DecodeError):
        return {}
    return {file.name: file for file in files}


def _structure(file: descriptor_pb2.FileDescriptorProto) -> bytes:
    """Return `file` as bytes less what does not change a structure: comments and JSON names."""
    bare = descriptor_pb2.FileDescriptorProto()
    bare.CopyFrom(file)
    bare.ClearField("source_code_info")
    messages = list(bare.message_type)
    while messages:
        message = messages.pop()
        messages.extend(message.nested_type)
        for field in (*message.field, *message.extension):
            field.ClearField("json_name")
    for field in bare.extension:
        field.ClearField("json_name")
    return bare.SerializeToString(deterministic=True)


class SchemaPool:
    """Message classes made from embedded descriptors alone: no generated code of the events is needed."""

    def __init__(self) -> None:
        """Start without any type."""
        self._pool = descriptor_pool.DescriptorPool()
        self._files: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    @property
    def files(self) -> dict[str, descriptor_pb2.FileDescriptorProto]:
        """The files added so far, by name, comments included."""
        return dict(self._files)

    def add(self, serialized_set: bytes) -> None:
        """Add the files of a serialized FileDescriptorSet; files that are known already are passed over.

        Raises:
            CorruptRecordError: the bytes are no descriptors, or do not fit together.
        """
        try:
            files = descriptor_pb2.FileDescriptorSet.FromString(serialized_set).file
            for file in files:
                if file.name not in self._files:
                    self._pool.Add(file)
                    self._files[file.name] = file
        except Exception as error:  # noqa: BLE001 - protobuf raises DecodeError, TypeError or ValueError, by backend
            raise CorruptRecordError(f"the embedded descriptors are invalid: {error}") from None

    def message_class(self, full_name: str) -> type[Message]:
        """Return a class for the message called `full_name`.

        Raises:
            CorruptRecordError: no added file declares it.
        """
        try:
            return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(full_name))
        except (KeyError, TypeError) as error:
            raise CorruptRecordError(f"the embedded descriptors do not declare {full_name}: {error}") from None


def event_classes(module: object) -> list[type[Message]]:
    """Return the event classes of a generated module, in the order of its .proto file.

    Raises:
        SchemaError: `module` is not a generated protobuf module.
    """
    descriptor = getattr(module, "DESCRIPTOR", None)
    names = getattr(descriptor, "message_types_by_name", None)
    if names is None:
        raise SchemaError(f"schemas: {module!r} is no generated protobuf module; pass one such as acme.v1.beam_pb2")
    found = []
    for name in names:
        try:
            found.append(event_type(getattr(module, name)).cls)
        except SchemaError:
            continue
    return found
