"""Descriptors as a header carries them: bare files, and their names and comments as text beside them.

A descriptor is half names, and much of the rest follows from its place. So a file is written without what a reader can
add again, and its names and comments are lines of one text: together that is a quarter smaller after compression.
`recordfile/FORMAT.md` ("Header") states the rules. What would not come back byte for byte is written as it is: a bare
file is one without a name. Pure: bytes in, bytes out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError

from esper_telemetry.schema.comments import ENUM_VALUE, ENUMS, MESSAGE_ENUM, MESSAGE_FIELD, MESSAGE_NESTED, MESSAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor_pb2 import DescriptorProto

    Path = tuple[int, ...]

# The syntax of a file without one is proto3 where the file is bare, and proto2 where it is not.
_NEW, _OLD = "proto3", "proto2"
# The runs of a program declare the same, one after the other; a set takes a millisecond each way.
_MOST_SETS = 8
# Numbers of fields in descriptor.proto that no comment of ours is on.
_ONEOFS, _EXTENSIONS = 8, 7


@lru_cache(maxsize=_MOST_SETS)
def made_bare(descriptors: bytes) -> tuple[bytes, str]:
    """Return descriptors with their files bare, and the text of these.

    Args:
        descriptors: a serialized FileDescriptorSet; bytes that are none are given back.
    """
    try:
        files = FileDescriptorSet.FromString(descriptors)
    except DecodeError:
        return descriptors, ""
    lines: list[str] = []
    for file in files.file:
        bare = FileDescriptorProto()
        bare.CopyFrom(file)
        own = _strip(bare)
        again = FileDescriptorProto()
        again.CopyFrom(bare)
        if _restore(again, iter(own)) and again == file and not any("\n" in line for line in own):
            file.CopyFrom(bare)
            lines += own
    text = "\n".join(lines)
    made = files.SerializeToString(deterministic=True)
    return (made, text) if made_whole(made, text) == descriptors else (descriptors, "")


@lru_cache(maxsize=_MOST_SETS)
def made_whole(descriptors: bytes, text: str) -> bytes:
    """Return descriptors with all that their bare files lack, the reverse of `made_bare`.

    Where the text has too few lines, names stay empty: a descriptor pool refuses that.

    Raises:
        DecodeError: `descriptors` is no FileDescriptorSet.
    """
    if not text:
        return descriptors
    files = FileDescriptorSet.FromString(descriptors)
    lines = iter(text.split("\n"))
    for file in files.file:
        if not file.name:
            _restore(file, lines)
    return files.SerializeToString(deterministic=True)


def _strip(file: FileDescriptorProto) -> list[str]:
    """Make a file bare, and return the lines that it takes of the text."""
    said = {tuple(one.path): one.leading_comments for one in file.source_code_info.location}
    name = "" if file.name == _usual_name(file) else file.name
    for message in _messages(file):
        made_up = {field.oneof_index for field in message.field if field.proto3_optional}
        stated = [one for at, one in enumerate(message.oneof_decl) if at not in made_up]
        del message.oneof_decl[:]
        message.oneof_decl.extend(stated)
        for field in message.field:
            if field.proto3_optional:
                field.ClearField("oneof_index")
        _strip_numbers(message.field, 1)
    lines = [name]
    for one, path in _places(file):
        lines.append(f"{one.name} {said[path]}" if path in said else one.name)
        one.ClearField("name")
    file.ClearField("name")
    file.ClearField("source_code_info")
    if not file.syntax:
        file.syntax = _OLD
    elif file.syntax == _NEW:
        file.ClearField("syntax")
    return lines


def _restore(file: FileDescriptorProto, lines: Iterator[str]) -> bool:
    """Give a bare file what it lacks; return whether there was a line for each name."""
    name = next(lines, "")
    complete = True
    for one, path in _places(file):
        line = next(lines, None)
        complete = complete and line is not None
        one.name, space, comment = (line or "").partition(" ")
        if space:
            file.source_code_info.location.add(path=path, leading_comments=comment)
    file.name = name or _usual_name(file)
    if file.syntax == _OLD:
        file.ClearField("syntax")
    elif not file.syntax:
        file.syntax = _NEW
    for message in _messages(file):
        expected = 1
        for field in message.field:
            if not field.HasField("number"):
                field.number = expected
            expected = field.number + 1
            if field.proto3_optional and not field.HasField("oneof_index"):
                field.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field.name}")
    return complete


def _strip_numbers(fields: Any, expected: int) -> None:
    """Leave out the number of each field that is the one after the field before."""
    for field in fields:
        number = field.number
        if number == expected:
            field.ClearField("number")
        expected = number + 1


def _usual_name(file: FileDescriptorProto) -> str:
    """Return the name that `schema.definitions` gives to a file."""
    names = [one.name for one in file.message_type] or [one.name for one in file.enum_type]
    if not names:
        return ""
    return f"{file.package}.{names[0]}" if file.package else names[0]


def _messages(file: FileDescriptorProto) -> Iterator[DescriptorProto]:
    ahead = list(file.message_type)
    while ahead:
        message = ahead.pop()
        yield message
        ahead.extend(message.nested_type)


def _places(file: FileDescriptorProto) -> Iterator[tuple[Any, Path]]:
    """Yield everything that has a name, with its path in the source information: a line of the text is of each."""
    for at, message in enumerate(file.message_type):
        yield from _of_message(message, (MESSAGES, at))
    for at, enum in enumerate(file.enum_type):
        yield from _of_enum(enum, (ENUMS, at))
    for at, extension in enumerate(file.extension):
        yield extension, (_EXTENSIONS, at)


def _of_message(message: DescriptorProto, path: Path) -> Iterator[tuple[Any, Path]]:
    yield message, path
    for at, field in enumerate(message.field):
        yield field, (*path, MESSAGE_FIELD, at)
    for at, oneof in enumerate(message.oneof_decl):
        yield oneof, (*path, _ONEOFS, at)
    for at, nested in enumerate(message.nested_type):
        yield from _of_message(nested, (*path, MESSAGE_NESTED, at))
    for at, enum in enumerate(message.enum_type):
        yield from _of_enum(enum, (*path, MESSAGE_ENUM, at))


def _of_enum(enum: Any, path: Path) -> Iterator[tuple[Any, Path]]:
    yield enum, path
    for at, value in enumerate(enum.value):
        yield value, (*path, ENUM_VALUE, at)
