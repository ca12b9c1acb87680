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
# A frame as events whose contexts are bytes; with its events as one event of repeated fields; with required fields; as
# `ENVELOPES` has it, but without blocks; and as elements that are all bytes. Blocks are bytes in all of them, for they
# are parsed one by one.
ENVELOPES, COLUMNS, STRICT, SINGLE, ELEMENTS = "envelopes", "columns", "strict", "single", "elements"
_PACKAGE = "esper_telemetry.recordfile"


def _declared(view: str) -> descriptor_pb2.FileDescriptorProto:
    """Return a frame as `view` has it, with the fields that record.proto declares."""
    # Required fields need proto2; elsewhere an unset field is 0 or empty.
    syntax = "proto2" if view == STRICT else "proto3"
    name = f"esper_telemetry/recordfile/{view}.proto"
    file = descriptor_pb2.FileDescriptorProto(name=name, package=_PACKAGE, syntax=syntax)
    _declare_event(file.message_type.add(name="Event"), view)
    fields = record_pb2.RecordFile.DESCRIPTOR.fields_by_name
    frame = file.message_type.add(name="Frame")
    frame.field.add(name="header", number=fields["header"].number, type=_FIELD.TYPE_BYTES, label=_FIELD.LABEL_REPEATED)
    event = frame.field.add(name="event", number=fields["event"].number, label=_FIELD.LABEL_REPEATED)
    if view == ELEMENTS:
        event.type = _FIELD.TYPE_BYTES
    else:
        event.type, event.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.Event"
    if view == COLUMNS:
        event.label = _FIELD.LABEL_OPTIONAL
    if view != SINGLE:
        number = fields["block"].number
        frame.field.add(name="block", number=number, type=_FIELD.TYPE_BYTES, label=_FIELD.LABEL_REPEATED)
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


def envelopes_descriptor() -> MessageDescriptor:
    """Return the descriptor of a frame of envelopes, for decoders that take one: fields `header` and `event`."""
    descriptor: MessageDescriptor = frame_class(SINGLE).DESCRIPTOR
    return descriptor


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
