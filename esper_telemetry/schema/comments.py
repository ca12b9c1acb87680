"""What the .proto files document of messages, fields, enums and their values, by descriptor.

Comments are in the source information of a file's descriptor, under paths of field numbers and positions. A header
carries them as text beside the descriptors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor_pb2 import EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.descriptor import Descriptor, EnumDescriptor

# Numbers of fields in descriptor.proto: a path in source_code_info is made of them.
MESSAGES, ENUMS = 4, 5
_MESSAGE_FIELD, _MESSAGE_NESTED, _MESSAGE_ENUM, _ENUM_VALUE = 2, 3, 4, 2


def comment_paths(one: Any) -> Iterator[tuple[int, ...]]:
    """Yield where comments on a definition are: it, its fields or values, and what it nests, in this order.

    Paths begin at the definition: the empty one is its own.

    Args:
        one: a DescriptorProto or EnumDescriptorProto.
    """
    yield ()
    if isinstance(one, EnumDescriptorProto):
        for at in range(len(one.value)):
            yield _ENUM_VALUE, at
        return
    for at in range(len(one.field)):
        yield _MESSAGE_FIELD, at
    for kind, nested in ((_MESSAGE_NESTED, one.nested_type), (_MESSAGE_ENUM, one.enum_type)):
        for at, inner in enumerate(nested):
            for path in comment_paths(inner):
                yield kind, at, *path


def taken_out(descriptors: bytes) -> tuple[bytes, str]:
    """Return descriptors without their comments, and the comments as text: together they compress better by a tenth.

    The text has a line for each place of `comment_paths`, of the messages and then the enums of one file after the
    other. It is empty where it could not be put back: where `descriptors` are not as `schema.definitions` makes them.

    Args:
        descriptors: a serialized FileDescriptorSet.
    """
    files = _parsed(descriptors)
    if files is None:
        return descriptors, ""
    lines = []
    for file in files.file:
        said = {tuple(one.path): one.leading_comments for one in file.source_code_info.location}
        lines += [said.get(path, "") for path in _paths(file)]
        file.ClearField("source_code_info")
    bare, text = files.SerializeToString(deterministic=True), "\n".join(lines).rstrip("\n")
    return (bare, text) if put_back(bare, text) == descriptors else (descriptors, "")


def put_back(descriptors: bytes, text: str) -> bytes:
    """Return descriptors with their comments, the reverse of `taken_out`; lines without a place are left out."""
    if not text:
        return descriptors
    files = FileDescriptorSet.FromString(descriptors)
    places = ((file, path) for file in files.file for path in _paths(file))
    for (file, path), line in zip(places, text.split("\n"), strict=False):
        if line:
            file.source_code_info.location.add(path=path, leading_comments=line)
    return files.SerializeToString(deterministic=True)


def _parsed(descriptors: bytes) -> FileDescriptorSet | None:
    try:
        return FileDescriptorSet.FromString(descriptors)
    except DecodeError:
        return None


def _paths(file: FileDescriptorProto) -> Iterator[tuple[int, ...]]:
    for kind, definitions in ((MESSAGES, file.message_type), (ENUMS, file.enum_type)):
        for at, one in enumerate(definitions):
            for path in comment_paths(one):
                yield kind, at, *path


class Comments:
    """Comments of some .proto files, each on one line; empty where there is none.

    Args:
        files: descriptors with their source information.
    """

    def __init__(self, files: Iterable[FileDescriptorProto]) -> None:
        self._said = {
            (file.name, tuple(place.path)): " ".join(place.leading_comments.split())
            for file in files
            for place in file.source_code_info.location
            if place.leading_comments
        }

    def of_message(self, message: Descriptor) -> str:
        """Return the comment on a message."""
        return self._at(message, _message_path(message))

    def of_field(self, message: Descriptor, position: int) -> str:
        """Return the comment on the field of a message at a position, in the order of declaration."""
        return self._at(message, (*_message_path(message), _MESSAGE_FIELD, position))

    def of_enum(self, enum: EnumDescriptor) -> str:
        """Return the comment on an enum."""
        return self._at(enum, _enum_path(enum))

    def of_value(self, enum: EnumDescriptor, position: int) -> str:
        """Return the comment on the value of an enum at a position, in the order of declaration."""
        return self._at(enum, (*_enum_path(enum), _ENUM_VALUE, position))

    def _at(self, one: Descriptor | EnumDescriptor, path: tuple[int, ...]) -> str:
        return self._said.get((one.file.name, path), "")


def _message_path(message: Descriptor) -> tuple[int, ...]:
    outer = message.containing_type
    if outer is None:
        return MESSAGES, list(message.file.message_types_by_name).index(message.name)
    return *_message_path(outer), _MESSAGE_NESTED, [nested.name for nested in outer.nested_types].index(message.name)


def _enum_path(enum: EnumDescriptor) -> tuple[int, ...]:
    outer = enum.containing_type
    if outer is None:
        return ENUMS, list(enum.file.enum_types_by_name).index(enum.name)
    return *_message_path(outer), _MESSAGE_ENUM, [nested.name for nested in outer.enum_types].index(enum.name)
