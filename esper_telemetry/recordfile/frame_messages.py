"""Message classes that frames are parsed with, derived from record.proto: what a reader does not want made is bytes.

A field that is added to record.proto is known to all of them. Their pools are their own, for these are no types of the
schema. Threads may share them.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, message_factory

from esper_telemetry.schema.descriptors import base_pool, context_closure
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor as MessageDescriptor

_FIELD = descriptor_pb2.FieldDescriptorProto
# FORMAT.md: an event states each of them once.
_STATED = frozenset({"type_id", "time_unix_nano", "seq"})
# A frame as messages whose own messages are bytes; with its events as one event of repeated fields; with required
# fields; as `ENVELOPES` has it, but without blocks, or with blocks as bytes; and as elements that are all bytes.
ENVELOPES, COLUMNS, STRICT, SINGLE = "envelopes", "columns", "strict", "single"
CONTENT, ELEMENTS = "content", "elements"
_PACKAGE = "esper_telemetry.recordfile"


def _declared(view: str) -> descriptor_pb2.FileDescriptorProto:
    """Return a frame as `view` has it, with the fields that record.proto declares."""
    # Required fields need proto2; elsewhere an unset field is 0 or empty.
    syntax = "proto2" if view == STRICT else "proto3"
    name = f"esper_telemetry/recordfile/{view}.proto"
    file = descriptor_pb2.FileDescriptorProto(name=name, package=_PACKAGE, syntax=syntax)
    _declare_event(file.message_type.add(name="Event"), view)
    _declare_column(file.message_type.add(name="Column"))
    _declare_block(file.message_type.add(name="EventBlock"))
    fields = record_pb2.RecordFile.DESCRIPTOR.fields_by_name
    frame = file.message_type.add(name="Frame")
    frame.field.add(name="header", number=fields["header"].number, type=_FIELD.TYPE_BYTES, label=_FIELD.LABEL_REPEATED)
    for name, one in (("event", "Event"), ("block", "EventBlock")):
        if (view, name) == (SINGLE, "block"):
            continue
        merged = view == COLUMNS and name == "event"
        if view == ELEMENTS or (view, name) == (CONTENT, "block"):
            number = fields[name].number
            frame.field.add(name=name, number=number, type=_FIELD.TYPE_BYTES, label=_FIELD.LABEL_REPEATED)
            continue
        frame.field.add(
            name=name,
            number=fields[name].number,
            type=_FIELD.TYPE_MESSAGE,
            label=_FIELD.LABEL_OPTIONAL if merged else _FIELD.LABEL_REPEATED,
            type_name=f".{_PACKAGE}.{one}",
        )
    return file


def _declare_event(message: descriptor_pb2.DescriptorProto, view: str) -> None:
    event = descriptor_pb2.DescriptorProto()
    record_pb2.Event.DESCRIPTOR.CopyToProto(event)
    for field in event.field:
        label = _FIELD.LABEL_REPEATED if view == COLUMNS else _FIELD.LABEL_OPTIONAL
        if view == STRICT and field.name in _STATED:
            label = _FIELD.LABEL_REQUIRED
        added = message.field.add(name=field.name, number=field.number, type=field.type, label=label)
        if field.type == _FIELD.TYPE_MESSAGE and view == STRICT:
            added.type_name = field.type_name
        elif field.type == _FIELD.TYPE_MESSAGE:
            added.type = _FIELD.TYPE_BYTES


def _declare_column(message: descriptor_pb2.DescriptorProto) -> None:
    """Declare a column whose real numbers are bytes: the same on the wire, and read without making an object each."""
    column = descriptor_pb2.DescriptorProto()
    record_pb2.Column.DESCRIPTOR.CopyToProto(column)
    for field in column.field:
        real = field.type in (_FIELD.TYPE_DOUBLE, _FIELD.TYPE_FLOAT)
        message.field.add(
            name=field.name,
            number=field.number,
            type=_FIELD.TYPE_BYTES if real else field.type,
            label=_FIELD.LABEL_OPTIONAL if real else field.label,
        )


def _declare_block(message: descriptor_pb2.DescriptorProto) -> None:
    block = descriptor_pb2.DescriptorProto()
    record_pb2.EventBlock.DESCRIPTOR.CopyToProto(block)
    for field in block.field:
        added = message.field.add(name=field.name, number=field.number, type=field.type, label=field.label)
        if field.type == _FIELD.TYPE_MESSAGE:
            added.type_name = f".{_PACKAGE}.Column"


def envelopes_descriptor() -> MessageDescriptor:
    """Return the descriptor of a frame of envelopes, for decoders that take one: fields `header` and `event`."""
    descriptor: MessageDescriptor = frame_class(SINGLE).DESCRIPTOR
    return descriptor


@cache
def block_class() -> Any:
    """Return the class of an `EventBlock` whose real numbers are bytes, for one that a frame of `ELEMENTS` has."""
    return message_factory.GetMessageClass(frame_class(ENVELOPES).DESCRIPTOR.fields_by_name["block"].message_type)


@cache
def frame_class(view: str) -> Any:
    """Return the class of a frame as `view` has it; its pool is its own, for these are no types of the schema."""
    pool = base_pool()
    declared = _declared(view)
    if view == STRICT:  # the one that declares messages
        for needed in context_closure().file:
            pool.Add(needed)
            declared.dependency.append(needed.name)
    pool.Add(declared)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Frame"))
