"""What the .proto files document of messages, fields, enums and their values, by descriptor.

Comments are in the source information of a file's descriptor, under paths of field numbers and positions. A header
carries them as text beside the descriptors (`schema.bare_files`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor_pb2 import EnumDescriptorProto, FileDescriptorProto

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.descriptor import Descriptor, EnumDescriptor

# Numbers of fields in descriptor.proto: a path in source_code_info is made of them.
MESSAGES, ENUMS = 4, 5
MESSAGE_FIELD, MESSAGE_NESTED, MESSAGE_ENUM, ENUM_VALUE = 2, 3, 4, 2


def comment_paths(one: Any) -> Iterator[tuple[int, ...]]:
    """Yield where comments on a definition are: it, its fields or values, and what it nests, in this order.

    Paths begin at the definition: the empty one is its own.

    Args:
        one: a DescriptorProto or EnumDescriptorProto.
    """
    yield ()
    if isinstance(one, EnumDescriptorProto):
        for at in range(len(one.value)):
            yield ENUM_VALUE, at
        return
    for at in range(len(one.field)):
        yield MESSAGE_FIELD, at
    for kind, nested in ((MESSAGE_NESTED, one.nested_type), (MESSAGE_ENUM, one.enum_type)):
        for at, inner in enumerate(nested):
            for path in comment_paths(inner):
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
        return self._at(message, (*_message_path(message), MESSAGE_FIELD, position))

    def of_enum(self, enum: EnumDescriptor) -> str:
        """Return the comment on an enum."""
        return self._at(enum, _enum_path(enum))

    def of_value(self, enum: EnumDescriptor, position: int) -> str:
        """Return the comment on the value of an enum at a position, in the order of declaration."""
        return self._at(enum, (*_enum_path(enum), ENUM_VALUE, position))

    def _at(self, one: Descriptor | EnumDescriptor, path: tuple[int, ...]) -> str:
        return self._said.get((one.file.name, path), "")


def _message_path(message: Descriptor) -> tuple[int, ...]:
    outer = message.containing_type
    if outer is None:
        return MESSAGES, list(message.file.message_types_by_name).index(message.name)
    return *_message_path(outer), MESSAGE_NESTED, [nested.name for nested in outer.nested_types].index(message.name)


def _enum_path(enum: EnumDescriptor) -> tuple[int, ...]:
    outer = enum.containing_type
    if outer is None:
        return ENUMS, list(enum.file.enum_types_by_name).index(enum.name)
    return *_message_path(outer), MESSAGE_ENUM, [nested.name for nested in outer.enum_types].index(enum.name)
