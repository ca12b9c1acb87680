"""Descriptors in and out of a record: what a writer embeds, what a reader without our code uses.

A definition's descriptor comes from the generated class; its comments from `schema.binpb`,
which a package may ship beside its generated modules
(`protoc --include_source_info --descriptor_set_out=acme/v1/schema.binpb`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from esper_telemetry.errors import CorruptRecordError, SchemaError
from esper_telemetry.schema.definitions import DESCRIPTOR_PROTO, definition_file, definition_of
from esper_telemetry.schema.event_type import event_type
from esper_telemetry.v1 import context_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from google.protobuf.message import Message

MAX_DESCRIPTOR_BYTES = 1 << 20

Placed = TypeVar("Placed")


def proto_include() -> Path:
    """Return the folder to pass to protoc as -I when compiling events of one's own."""
    installed = Path(__file__).resolve().parent.parent / "proto"
    return installed if installed.is_dir() else installed.parent.parent / "proto"


def file_closure(classes: Iterable[type[Message]], known: Iterable[str] = ()) -> descriptor_pb2.FileDescriptorSet:
    """Return the files of definitions that `classes` need, in dependency order, comments included where known.

    Each message or enum that is needed is a file of its own, see `schema.definitions`. google/protobuf/descriptor.proto
    is never among them: a reader takes that of its own protobuf.

    Args:
        classes: generated message classes.
        known: names of files to leave out, with all they import.

    Raises:
        SchemaError: the set is over the limit of the format (1 MiB).
    """
    wanted = [definition_file(definition_of(cls.DESCRIPTOR)) for cls in classes]
    placed = _in_order(wanted, lambda one: one.proto.name, lambda one: map(definition_file, one.needs), known)
    closure = descriptor_pb2.FileDescriptorSet(file=[one.proto for one in placed])
    if closure.ByteSize() > MAX_DESCRIPTOR_BYTES:
        raise SchemaError(
            f"the schemas take {closure.ByteSize():,} bytes of descriptors, over the format's {MAX_DESCRIPTOR_BYTES:,};"
            " split the events, or shorten the comments in their schema.binpb"
        )
    return closure


def needed_files(
    files: Mapping[str, descriptor_pb2.FileDescriptorProto], full_names: Iterable[str], known: Iterable[str] = ()
) -> descriptor_pb2.FileDescriptorSet:
    """Return those of `files` that messages need, in the order in which `file_closure` has them.

    Args:
        files: descriptors by name; what they lack is left out.
        full_names: the messages.
        known: names of files to leave out, with all they import.
    """
    home = {
        f"{file.package}.{one.name}".lstrip("."): file for file in files.values() for one in file.message_type
    }  # fmt: skip
    wanted = [home[top] for name in full_names for top in _outwards(name) if top in home]
    placed = _in_order(
        wanted,
        lambda file: file.name,
        lambda file: [files[one] for one in file.dependency if one in files],
        known,
    )
    return descriptor_pb2.FileDescriptorSet(file=placed)


def _outwards(full_name: str) -> Iterator[str]:
    """Yield a name and what it may lie in: a.B.C, a.B, a."""
    while full_name:
        yield full_name
        full_name = full_name.rpartition(".")[0]


def _in_order(
    wanted: Iterable[Placed],
    name: Callable[[Placed], str],
    needs: Callable[[Placed], Iterable[Placed]],
    known: Iterable[str],
) -> Iterator[Placed]:
    """Yield files with what they import, each once and after its imports; no recursion, for chains of any length."""
    seen = {DESCRIPTOR_PROTO, *known}
    for file in wanted:
        ahead = [(file, False)]
        while ahead:
            here, imports_are_placed = ahead.pop()
            if imports_are_placed:
                yield here
            elif name(here) not in seen:
                seen.add(name(here))
                ahead.append((here, True))
                ahead += [(needed, False) for needed in reversed(list(needs(here)))]


def context_closure() -> descriptor_pb2.FileDescriptorSet:
    """Return the files of Context, which every first header carries: what an event may have beside its message."""
    return file_closure([context_pb2.Context])


def base_pool() -> descriptor_pool.DescriptorPool:
    """Return a new pool that has what no record embeds: google/protobuf/descriptor.proto, of this protobuf."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(descriptor_pb2.DESCRIPTOR.serialized_pb)
    return pool


class SchemaPool:
    """Message classes made from embedded descriptors alone: no generated code of the events is needed."""

    def __init__(self) -> None:
        """Start without any type."""
        self._pool = base_pool()
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
                if file.name not in self._files and file.name != DESCRIPTOR_PROTO:
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
