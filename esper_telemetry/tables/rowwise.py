"""Payloads to columns one by one, through protobuf's own classes: for where ptars is not installed or refuses.

It needs pyarrow alone, makes a Python object for each value, and gives the same columns as the fast way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from google.protobuf.message import DecodeError

from esper_telemetry.schema import enum_labels, is_map, is_repeated
from esper_telemetry.tables.columntypes import WELL_KNOWN, column_type, map_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.message import Message

_NANOS = 1_000_000_000


def parsed(payloads: Iterable[bytes], cls: type[Message]) -> list[Message | None]:
    """Return the message of each payload; None for one that does not fit the class."""
    return [_parsed(payload, cls) for payload in payloads]


def _parsed(payload: bytes, cls: type[Message]) -> Message | None:
    try:
        return cls.FromString(payload)
    except DecodeError:
        return None


def columns(messages: Sequence[Message | None], descriptor: Descriptor) -> list[pa.Array]:
    """Return a column for each field of a message, in the order of declaration; NULL where it is unset."""
    inside = (descriptor.full_name,)
    found = []
    for field in descriptor.fields:
        value = _reader(field, inside)
        values = [None if message is None else value(message) for message in messages]
        found.append(pa.array(values, column_type(field)))
    return found


def _reader(field: FieldDescriptor, inside: tuple[str, ...]) -> Callable[[Any], Any]:
    """Return what reads a field of a message: None where it is unset."""
    name = field.name
    if is_map(field):
        item = _converter(map_entry(field)[1], inside)
        return lambda message: [(key, item(value)) for key, value in getattr(message, name).items()]
    convert = _converter(field, inside)
    if is_repeated(field):
        return lambda message: [convert(value) for value in getattr(message, name)]
    if field.has_presence:
        return lambda message: convert(getattr(message, name)) if message.HasField(name) else None
    return lambda message: next((convert(value) for one, value in message.ListFields() if one.name == name), None)


def _converter(field: FieldDescriptor, inside: tuple[str, ...]) -> Callable[[Any], Any]:
    if field.enum_type is not None:
        labels = enum_labels(field.enum_type)
        return lambda number: labels.get(number, str(number))
    return (lambda value: value) if field.message_type is None else _message_converter(field.message_type, inside)


def _message_converter(message: Descriptor, inside: tuple[str, ...]) -> Callable[[Any], Any]:
    if message.full_name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
        return lambda value: value.seconds * _NANOS + value.nanos
    if message.full_name in WELL_KNOWN:
        return lambda value: value.value
    if message.full_name in inside:
        return lambda value: value.SerializeToString()
    if not message.fields:
        return lambda _: True
    within = (*inside, message.full_name)
    readers = [(one.name, _reader(one, within)) for one in message.fields]
    return lambda value: {name: read(value) for name, read in readers}
