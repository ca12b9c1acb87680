"""The types of a record, from its embedded descriptors alone: short names, classes, plain forms and units.

No generated code of the events is needed or used. Segments that embed the same descriptors share one Schema, so that
their classes are the same objects. `Origin` is the segment that events come from, which they share.
"""

from __future__ import annotations

from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any, cast

from google.protobuf.message import DecodeError

from esper_telemetry.decode.plain_plans import PlainPlans
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.schema import SchemaPool, enum_labels, file_closure
from esper_telemetry.schema.builtin import built_in_types
from esper_telemetry.schema.comments import Comments
from esper_telemetry.v1 import context_pb2, options_pb2

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Mapping

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

    from esper_telemetry.decode.plain_plans import PlainPlan
    from esper_telemetry.recordfile import Segment

# protoc types an extension as a bare FieldDescriptor.
_EVENT: Any = options_pb2.event
_META: Any = options_pb2.meta
CONTEXT = "esper_telemetry.v1.Context"
STEP_BLOCK = "esper_telemetry.v1.StepBlock"
# A run has as many contexts as it has environments and epochs; beyond that they are decoded again.
_MOST_CONTEXTS = 1 << 14


class EventKind:
    """One type of event as a record declares it.

    Attributes:
        name: short name, e.g. "seed.culled"; the full one where the descriptors give none.
        full_name: name of the message, e.g. "esper.v1.SeedCulled".
        cls: message class made from the descriptors, or None where they lack it.
        plain: turns a message of the type into a dict; None as `cls`.
        hidden_context: names that are fields of it and of Context.
    """

    __slots__ = ("_context", "_metas", "_units", "cls", "full_name", "hidden_context", "name", "plain")

    def __init__(self, full_name: str, cls: type[Message] | None, plans: PlainPlans, context: Descriptor) -> None:
        self.full_name = full_name
        self.cls = cls
        self.name = full_name
        self.plain: PlainPlan | None = None
        self.hidden_context: frozenset[str] = frozenset()
        self._context = context
        self._metas: dict[str, options_pb2.FieldMeta] | None = None
        self._units: dict[str, str] | None = None
        if cls is not None:
            descriptor = descriptor_of(cls)
            self.name = descriptor.GetOptions().Extensions[_EVENT].name or full_name
            self.plain = plans.plan(descriptor)
            self.hidden_context = frozenset(descriptor.fields_by_name).intersection(context.fields_by_name)

    def parse(self, payload: bytes) -> Message:
        """Return the message in `payload`.

        Raises:
            CorruptRecordError: the record does not declare the type, or the bytes do not fit it.
        """
        if self.cls is None:
            raise CorruptRecordError(f"the record holds no descriptors of {self.full_name}, so it cannot be decoded")
        try:
            return self.cls.FromString(payload)
        except DecodeError as error:
            raise CorruptRecordError(f"a payload does not fit its type {self.full_name}: {error}") from None

    def message_of(self, plain: Mapping[str, Any]) -> Message:
        """Return the message whose set fields are `plain`; the reverse of `self.plain` for fields that are no messages.

        Raises:
            CorruptRecordError: the record does not declare the type.
        """
        if self.cls is None:
            raise CorruptRecordError(f"the record holds no descriptors of {self.full_name}, so it cannot be decoded")
        values = dict(plain)
        for field in descriptor_of(self.cls).fields:
            if field.enum_type is not None and field.name in values:
                numbers = {label: number for number, label in enum_labels(field.enum_type).items()}
                values[field.name] = numbers.get(values[field.name], values[field.name])
        return self.cls(**values)

    @property
    def metas(self) -> Mapping[str, options_pb2.FieldMeta]:
        """What is known of each field, context included; fields of nested messages as "heads.entropy"."""
        if self._metas is None:
            own = field_metas(descriptor_of(self.cls)) if self.cls is not None else {}
            self._metas = {**field_metas(self._context), **own}
        return self._metas

    @property
    def units(self) -> Mapping[str, str]:
        """UCUM unit of each field that has one, under the names of `metas`."""
        if self._units is None:
            self._units = {name: meta.unit for name, meta in self.metas.items() if meta.unit}
        return self._units


class Schema:
    """What the descriptors of a record declare.

    Args:
        descriptor_sets: serialized FileDescriptorSets, in file order.

    Raises:
        CorruptRecordError: they are invalid.

    Attributes:
        pool: the descriptors.
        context_fields: names of the fields of Context, by number.
    """

    def __init__(self, descriptor_sets: tuple[bytes, ...]) -> None:
        self.pool = SchemaPool()
        for serialized in descriptor_sets:
            self.pool.add(serialized)
        self._plans = PlainPlans()
        self._kinds: dict[str, EventKind] = {}
        self._contexts: dict[bytes, dict[str, Any]] = {}
        self._context_class = self.message_class(CONTEXT) or context_pb2.Context
        context = descriptor_of(self._context_class)
        self.context_fields = tuple(context.fields_by_name)
        self._context = context

    @cached_property
    def comments(self) -> Comments:
        """Comments on its definitions."""
        return Comments(self.pool.files.values())

    @property
    def context_descriptor(self) -> Descriptor:
        """Descriptor of Context, as the record has it."""
        return self._context

    def message_class(self, full_name: str) -> type[Message] | None:
        """Return a class for the message called `full_name`, or None where no descriptor declares it."""
        try:
            return self.pool.message_class(full_name)
        except CorruptRecordError:
            return None

    def kind(self, full_name: str) -> EventKind:
        """Return the type of event called `full_name`; one without a class where it is not declared."""
        kind = self._kinds.get(full_name)
        if kind is None:
            cls = self.message_class(full_name)
            kind = self._kinds[full_name] = EventKind(full_name, cls, self._plans, self._context)
        return kind

    def context(self, serialized: bytes) -> dict[str, Any]:
        """Return the set fields of a serialized Context; bytes that are none stay bytes. The dict is shared."""
        plain = self._contexts.get(serialized)
        if plain is None:
            if len(self._contexts) >= _MOST_CONTEXTS:
                self._contexts.clear()
            plain = self._contexts[serialized] = self._decode_context(serialized)
        return plain

    def _decode_context(self, serialized: bytes) -> dict[str, Any]:
        try:
            message = self._context_class.FromString(serialized)
        except DecodeError:
            return {"context": serialized}  # kept, as everything that cannot be decoded
        return self._plans.plan(self._context)(message)


@cache
def installed_schema() -> tuple[Schema, tuple[str, ...]]:
    """Return the schema of all event types of this SDK, and their full names; a record declares those that it has."""
    kinds = built_in_types()
    files = file_closure([context_pb2.Context, *(kind.cls for kind in kinds)])
    return Schema((files.SerializeToString(),)), tuple(kind.full_name for kind in kinds)


@lru_cache(maxsize=8)
def _shared_schema(descriptor_sets: tuple[bytes, ...]) -> Schema:
    return Schema(descriptor_sets)


def segment_schema(segment: Segment, path: str) -> Schema:
    """Return the schema of a segment.

    Raises:
        CorruptRecordError: its descriptors are invalid.
    """
    try:
        return _shared_schema(tuple(segment.descriptor_sets))
    except CorruptRecordError as error:
        raise CorruptRecordError(f"{error}; the record was written by a faulty writer", path=path) from None


def short_names(descriptor_sets: tuple[bytes, ...], full_names: Iterable[str]) -> dict[str, str]:
    """Return the short name of each type; the full name where the descriptors give none, or are invalid."""
    try:
        schema = _shared_schema(descriptor_sets)
    except CorruptRecordError:
        return {name: name for name in full_names}
    return {name: schema.kind(name).name for name in full_names}


class KindTable(dict[int, EventKind]):
    """The types of a segment by their ids; an id that no header declares gets a kind of its own."""

    def __init__(self, schema: Schema, types: Mapping[int, str]) -> None:
        super().__init__()
        self._schema = schema
        self._types = types

    def __missing__(self, type_id: int) -> EventKind:
        self[type_id] = kind = self._schema.kind(self._types.get(type_id, f"type:{type_id}"))
        return kind


class Origin:
    """A segment that is being read; its events share it.

    Attributes:
        path: the file.
        run_id: the run.
        stream: name of the stream.
        rank: distributed rank.
        attempt: attempt at the run, from 1.
        producer_id: 16 bytes: the numbering that its events belong to.
        schema: what its descriptors declare.
        kinds: its types by id.
        type_ids: ids that the segment declares.
        block_ids: those of blocks, which hold rows of steps.
        block_kind: the type of these; None where the segment declares none.
    """

    __slots__ = (
        "attempt",
        "block_ids",
        "block_kind",
        "kinds",
        "path",
        "producer_id",
        "rank",
        "run_id",
        "schema",
        "stream",
        "type_ids",
        "unknown",
    )

    def __init__(self, segment: Segment, path: str, unknown: Counter[str]) -> None:
        header = segment.header
        self.path = path
        self.run_id = header.run_id
        self.stream = header.stream
        self.rank = header.rank
        self.attempt = header.attempt or 1
        self.producer_id = header.producer_id
        self.schema = segment_schema(segment, path)
        self.kinds = KindTable(self.schema, segment.types)
        self.type_ids = frozenset(segment.types)
        self.block_kind = next((self.kinds[one] for one, name in segment.types.items() if name == STEP_BLOCK), None)
        self.block_ids = frozenset(number for number, name in segment.types.items() if name == STEP_BLOCK)
        self.unknown = unknown

    def undecodable(self, kind: EventKind) -> None:
        """Count an event that the record does not explain."""
        self.unknown[kind.name] += 1


def descriptor_of(cls: type[Message]) -> Descriptor:
    """Return the descriptor of a message class, under its one public type."""
    return cast("Descriptor", cls.DESCRIPTOR)


def field_metas(
    descriptor: Descriptor, prefix: str = "", inside: tuple[str, ...] = ()
) -> dict[str, options_pb2.FieldMeta]:
    """Return the annotation of each field of a message that has one; nested fields have dotted names."""
    found = {}
    for field in descriptor.fields:
        options = field.GetOptions()
        if options.HasExtension(_META):
            found[prefix + field.name] = options.Extensions[_META]
        nested = field.message_type
        if nested is not None and nested.full_name not in inside and not nested.GetOptions().map_entry:
            found.update(field_metas(nested, f"{prefix}{field.name}.", (*inside, nested.full_name)))
    return found
