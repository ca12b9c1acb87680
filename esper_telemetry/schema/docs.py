"""Docstrings of event classes, made from their descriptors: what `help(events.PpoUpdateCompleted)` shows.

The .proto files document what a field means, and the options of the schema its unit and range; a generated class has no
docstring of its own.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from esper_telemetry.schema.comments import Comments
from esper_telemetry.schema.definitions import commented_files, folder_of
from esper_telemetry.schema.encoder import descriptor_of
from esper_telemetry.schema.event_type import event_type
from esper_telemetry.schema.plain import SCALAR_NAMES, enum_labels, is_map, is_repeated
from esper_telemetry.v1 import options_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
    from google.protobuf.message import Message

_META: Any = options_pb2.meta  # protoc types an extension as a bare FieldDescriptor
_INDENT = "    "


def event_doc(cls: type[Message]) -> str:
    """Return what an event class is, its policy, and its fields with their units, ranges and labels."""
    one, message = event_type(cls), descriptor_of(cls)
    comments = _comments(folder_of(cls.__module__))
    level = enum_labels(options_pb2.Level.DESCRIPTOR)[one.level].lower()
    needs = f"; requires {', '.join(sorted(one.requires))} in its context" if one.requires else ""
    head = comments.of_message(message) or f"The event {one.name}."
    lines = [head, "", f'Event "{one.name}", recorded at level {level}{needs}.', "", "Fields; None means not measured:"]
    return "\n".join([*lines, *_fields(message, comments, _INDENT, (message,))])


@cache
def _comments(folder: Path | None) -> Comments:
    return Comments(commented_files(folder).values())


def _fields(message: Descriptor, comments: Comments, indent: str, inside: tuple[Descriptor, ...]) -> Iterator[str]:
    """Yield a line for each field, and below it those of what it holds."""
    for position, field in enumerate(message.fields):
        comment = comments.of_field(message, position)
        yield f"{indent}{field.name} ({', '.join(_facts(field))}){': ' if comment else ''}{comment}"
        held = _held(field)
        if held.enum_type is not None:
            yield from _labels(held.enum_type, comments, indent + _INDENT)
        elif held.message_type is not None and held.message_type not in inside:
            yield from _fields(held.message_type, comments, indent + _INDENT, (*inside, held.message_type))


def _facts(field: FieldDescriptor) -> Iterator[str]:
    """Yield what is known of a field in short words: its type, its unit, its range."""
    held = _held(field)
    name = _type_name(held)
    if is_map(field) and field.message_type is not None:
        yield f"map of {_type_name(field.message_type.fields_by_name['key'])} to {name}"
    else:
        yield f"list of {name}" if is_repeated(field) else name
    meta: options_pb2.FieldMeta = field.GetOptions().Extensions[_META]
    if meta.unit and meta.unit != "1":
        yield meta.unit
    for bound in ("min", "max"):
        if meta.HasField(bound):
            yield f"{bound} {getattr(meta, bound):g}"


def _labels(enum: EnumDescriptor, comments: Comments, indent: str) -> Iterator[str]:
    labels = enum_labels(enum)
    for position, value in enumerate(enum.values):
        comment = comments.of_value(enum, position)
        yield f'{indent}"{labels[value.number]}" ({value.number}){": " if comment else ""}{comment}'


def _held(field: FieldDescriptor) -> FieldDescriptor:
    """Return the field itself, or for a map that of its values."""
    return field.message_type.fields_by_name["value"] if is_map(field) and field.message_type is not None else field


def _type_name(field: FieldDescriptor) -> str:
    named = field.message_type or field.enum_type
    return named.name if named is not None else SCALAR_NAMES[field.type]
