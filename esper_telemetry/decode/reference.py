"""What the events of a record mean: names, levels, fields, units and comments, from its embedded descriptors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from esper_telemetry.decode.survey import survey
from esper_telemetry.decode.types import CONTEXT, descriptor_of, segment_schema
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.schema import enum_labels, is_map, is_repeated, to_plain
from esper_telemetry.schema.comments import Comments
from esper_telemetry.schema.plain import SCALAR_NAMES
from esper_telemetry.v1 import options_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    from esper_telemetry.decode.inputs import RecordFiles, RecordPath
    from esper_telemetry.decode.survey import Survey
    from esper_telemetry.decode.types import Schema

# protoc types extensions as bare FieldDescriptors.
_EVENT: Any = options_pb2.event
_META: Any = options_pb2.meta


@dataclass(frozen=True, slots=True)
class FieldReference:
    """A field of a message.

    Attributes:
        name: its name.
        number: its number.
        type: "double", "string", "SeedStage", "map<string, uint64>", "repeated HeadStats" and so on.
        optional: whether an unset field differs from a zero.
        unit: UCUM unit, or "".
        minimum: smallest legal value, or None.
        maximum: largest legal value, or None.
        kind: "GAUGE", "DELTA", "CUMULATIVE", "KEY", or "".
        goal: "MINIMIZE", "MAXIMIZE", or "".
        comment: what the .proto file documents.
    """

    name: str
    number: int
    type: str
    optional: bool
    unit: str
    minimum: float | None
    maximum: float | None
    kind: str
    goal: str
    comment: str


@dataclass(frozen=True, slots=True)
class MessageReference:
    """A message that events are made of.

    Attributes:
        full_name: its full name.
        comment: what the .proto file documents.
        fields: its fields, by number.
    """

    full_name: str
    comment: str
    fields: tuple[FieldReference, ...]


@dataclass(frozen=True, slots=True)
class EnumReference:
    """An enum that fields have values of.

    Attributes:
        full_name: its full name.
        comment: what the .proto file documents.
        values: number, shown name and comment of each value.
    """

    full_name: str
    comment: str
    values: tuple[tuple[int, str, str], ...]


@dataclass(frozen=True, slots=True)
class EventReference:
    """A type of event.

    Attributes:
        name: short name.
        message: what it holds.
        level: level at which it is recorded: "lifecycle", "minimal", "normal" or "debug".
        shedding: when a full buffer drops it: "first", "later" or "never".
        requires: context that it cannot be emitted without.
    """

    name: str
    message: MessageReference
    level: str
    shedding: str
    requires: tuple[str, ...]


@dataclass(slots=True)
class Reference:
    """The types of a record.

    Attributes:
        events: by short name.
        messages: what events hold besides, by full name; Context among them.
        enums: by full name.
    """

    events: dict[str, EventReference] = field(default_factory=dict)
    messages: dict[str, MessageReference] = field(default_factory=dict)
    enums: dict[str, EnumReference] = field(default_factory=dict)


def record_reference(path: RecordPath | Iterable[RecordPath] | RecordFiles | Survey) -> Reference:
    """Return the reference of all types that record files declare; of types with the same name, the first one met.

    Args:
        path: as for `read`.

    Raises:
        RecordError: as `read`, or a file has invalid descriptors.
    """
    whole = Reference()
    for file, spare in {place.path: place.spare for place in survey(path).places}.items():
        with RecordReader(file, spare=spare) as reader:
            for segment in reader.segments:
                found = describe(segment_schema(segment, reader.path), segment.types.values())
                whole.events = dict(sorted({**found.events, **whole.events}.items()))
                whole.messages = {**found.messages, **whole.messages}
                whole.enums = {**found.enums, **whole.enums}
    return whole


def describe(schema: Schema, full_names: Iterable[str]) -> Reference:
    """Return the reference of the types called `full_names`; those without descriptors are left out."""
    reference = Reference()
    describer = _Describer(schema.pool.files, reference)
    for full_name in full_names:
        cls = schema.message_class(full_name)
        if cls is not None:
            event = describer.event(descriptor_of(cls))
            reference.events[event.name] = event
    context = schema.message_class(CONTEXT)
    if context is not None:
        describer.note_message(descriptor_of(context))
    reference.events = dict(sorted(reference.events.items()))
    return reference


class _Describer:
    """Describes messages and notes those met on the way."""

    def __init__(self, files: Mapping[str, FileDescriptorProto], reference: Reference) -> None:
        self._reference = reference
        self._comments = Comments(files.values())

    def event(self, descriptor: Descriptor) -> EventReference:
        meta = to_plain(descriptor.GetOptions().Extensions[_EVENT])
        return EventReference(
            name=meta.get("name", descriptor.full_name),
            message=self._message(descriptor),
            level=str(meta.get("level", "normal")).lower(),
            shedding=str(meta.get("shedding", "later")).lower(),
            requires=tuple(str(key).lower() for key in meta.get("requires", [])),
        )

    def note_message(self, descriptor: Descriptor) -> None:
        """Describe a message that is no event, once."""
        if descriptor.full_name not in self._reference.messages:
            empty = MessageReference(descriptor.full_name, "", ())
            self._reference.messages[descriptor.full_name] = empty  # a message may hold itself
            self._reference.messages[descriptor.full_name] = self._message(descriptor)

    def _message(self, descriptor: Descriptor) -> MessageReference:
        fields = tuple(self._field(descriptor, one, at) for at, one in enumerate(descriptor.fields))
        comment = self._comments.of_message(descriptor)
        return MessageReference(descriptor.full_name, comment, fields)

    def _field(self, descriptor: Descriptor, one: FieldDescriptor, at: int) -> FieldReference:
        meta: options_pb2.FieldMeta = one.GetOptions().Extensions[_META]
        plain = to_plain(meta)
        return FieldReference(
            name=one.name,
            number=one.number,
            type=self._type(one),
            optional=one.has_presence,
            unit=meta.unit,
            minimum=plain.get("min"),
            maximum=plain.get("max"),
            kind=str(plain.get("kind", "")),
            goal=str(plain.get("goal", "")),
            comment=self._comments.of_field(descriptor, at),
        )

    def _type(self, one: FieldDescriptor) -> str:
        if is_map(one) and one.message_type is not None:
            entry = one.message_type.fields_by_name
            return f"map<{self._type(entry['key'])}, {self._type(entry['value'])}>"
        name = SCALAR_NAMES.get(one.type, "")
        if one.message_type is not None:
            self.note_message(one.message_type)
            name = one.message_type.name
        elif one.enum_type is not None:
            self._note_enum(one.enum_type)
            name = one.enum_type.name
        return f"repeated {name}" if is_repeated(one) else name

    def _note_enum(self, enum: EnumDescriptor) -> None:
        if enum.full_name in self._reference.enums:
            return
        labels = enum_labels(enum)
        values = tuple(
            (value.number, labels[value.number], self._comments.of_value(enum, at))
            for at, value in enumerate(enum.values)
        )
        self._reference.enums[enum.full_name] = EnumReference(enum.full_name, self._comments.of_enum(enum), values)
