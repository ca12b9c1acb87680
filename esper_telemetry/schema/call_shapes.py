"""From the fields of a call to a row, for every event class: what is kept until it is written, and what is refused.

protobuf builds and serializes the first calls of a shape (names and types), and what it made is what the rows must
give: a shape is used only after its row has become, byte for byte, the message that protobuf made of the same values.
From then on a call is kept as it came, after a look at types and ranges. All other values are given to protobuf, at
protobuf's price, so that a value is accepted or refused by the same rule at every call; a row is made of what it built.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.errors import SchemaError
from esper_telemetry.schema.context import CONTEXT_FIELDS, build_context
from esper_telemetry.schema.encoder import build, descriptor_of, serialized
from esper_telemetry.schema.event_type import event_type
from esper_telemetry.schema.frame_builder import exact_row, row_of
from esper_telemetry.schema.row_shape import PAYLOAD, PLAIN_TYPES, RowShape, packed, plain_shape, shape_of, write_shape
from esper_telemetry.schema.shown import shown
from esper_telemetry.schema.value_checks import LONGEST_TEXTS
from esper_telemetry.v1 import context_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from esper_telemetry.schema.row_shape import Shape

HOW = "call emit(EventClass, field=value, ...), such as emit(events.ScalarLogged, name='loss', value=0.5)"
"""How an event is emitted, for those who tried otherwise."""

_CONTEXT = descriptor_of(context_pb2.Context)
# Writing a shape takes as long as some 100 events: one that was seen so often is likely to come again.
_SIGHTINGS = 16
# Shapes of one class that are followed: a caller that makes up new ones all the time gets protobuf.
_SHAPES = 64


class CallRow(NamedTuple):
    """What is kept of a call.

    Attributes:
        shape: what its values mean.
        values: a dict of immutable values, or the serialized message.
        extra: bytes of its texts, or of the message.
        where: what the call states of its context beside `shape.context`; None where it states nothing.
    """

    shape: RowShape
    values: Any
    extra: int
    where: dict[str, Any] | None = None


class CallShapes:
    """The shapes of calls of one class. Threads may share it.

    Args:
        cls: an event class.

    Attributes:
        context_names: fields of Context that a call may give beside those of the event.
    """

    _most_shapes, _longest = _SHAPES, LONGEST_TEXTS

    def __init__(self, cls: type[Message]) -> None:
        self._cls = cls
        self._message = descriptor_of(cls)
        self.context_names = CONTEXT_FIELDS - set(self._message.fields_by_name)
        self._requires = _required(cls)
        self._seen: Counter[Shape] = Counter()
        self._written: dict[Shape, RowShape | None] = {}
        self._proven: dict[Shape, RowShape] = {}
        self._plain: dict[tuple[str, ...], RowShape] = {}

    def proven(self, fields: Mapping[str, Any]) -> CallRow | None:
        """Return the row of a call whose shape is known to give what protobuf makes, as it came; else None."""
        shape = self._proven.get(shape_of(fields))
        if shape is None:
            return None
        extra = _checked(shape, fields)
        return CallRow(shape, fields, extra) if extra >= 0 else None

    def lacking(self, fields: Mapping[str, Any], bound: Mapping[str, Any]) -> str | None:
        """Return a field of Context that the event requires and neither the call nor what is bound gives."""
        for name in self._requires:
            if fields.get(name, bound.get(name)) is None:
                return name
        return None

    def take(
        self, message: Message | None, wrong: tuple[object, ...], fields: Mapping[str, Any], bound: Mapping[str, Any]
    ) -> CallRow:
        """Return the row of any call.

        Args:
            message: one that the caller has built; None: the event has `fields`.
            wrong: what was given without a name.
            fields: of the event and its context; with a message of the context alone.
            bound: the context that the call adds to.

        Raises:
            SchemaError: the call is not what the schema declares; nothing of a device was read.
        """
        if wrong:
            raise SchemaError(f"it was given {shown(wrong[0])} without a name; {HOW}", about="no name")
        lacking = self.lacking(fields, bound)
        if lacking is not None:
            raise SchemaError(
                f"it requires {lacking} in its context; use run.bind({lacking}=...).emit(...), or give {lacking}= in"
                " the call",
                about=f"requires {lacking}",
            )
        if message is None:
            return self.row(fields)
        others = sorted(fields.keys() - self.context_names)
        if others:
            raise SchemaError(f"a ready message takes no fields, and was given {shown(others[0])}: set it before")
        row = self._of_message(message, serialized(message), exact=True)
        return row._replace(where=dict(fields)) if fields else row

    def row(self, fields: Mapping[str, Any]) -> CallRow:
        """Return the row of a call that has only fields.

        Raises:
            SchemaError: there is no such field, or it cannot hold the value.
        """
        row = self.proven(fields)
        if row is not None:
            return row
        where = {name: value for name, value in fields.items() if name in self.context_names}
        own = {name: value for name, value in fields.items() if name not in where} if where else fields
        message = self._build(own)
        self._learn(fields, message, where)
        row = self._of_message(message, message.SerializeToString(), exact=False)
        return row._replace(where=where) if where else row

    def _build(self, fields: Mapping[str, Any]) -> Message:
        return build(self._cls, fields)

    def of_message(self, message: Message) -> CallRow:
        """Return the row of a message that is plain: one that a call built, or the SDK."""
        return self._of_message(message, serialized(message), exact=False)

    def _of_message(self, message: Message, payload: bytes, *, exact: bool) -> CallRow:
        found = exact_row(message, payload) if exact else row_of(message)
        if found is None or len(payload) > self._longest:
            return CallRow(PAYLOAD, payload, len(payload))
        _, values = found
        if not PLAIN_TYPES.issuperset(map(type, values)):  # protobuf in pure Python keeps the objects it was given
            values = tuple(map(_exact, values))
        fields = [field for field, _ in message.ListFields()]
        names = tuple(field.name for field in fields)
        shape = self._plain.get(names)
        if shape is None:
            if len(self._plain) >= self._most_shapes:
                return CallRow(PAYLOAD, payload, len(payload))
            shape = self._plain.setdefault(names, plain_shape(fields, tuple(map(type, values))))
        extra = sum(len(value.encode()) for value in values if type(value) is str)
        return CallRow(shape, dict(zip(names, values, strict=True)), extra)

    def _learn(self, fields: Mapping[str, Any], message: Message, where: Mapping[str, Any]) -> None:
        """Count a call; once its shape has come often, use it if it gives what protobuf made."""
        known = shape_of(fields)
        if known in self._proven or not self._due(known):
            return
        if known not in self._written:
            context = _CONTEXT if self.context_names else None
            self._written[known] = write_shape(self._message, context, *known)
        shape = self._written[known]
        if shape is None or _checked(shape, fields) < 0:
            return
        if self._gives(shape, fields, message, where):
            self._proven[known] = shape
        else:
            self._written[known] = None  # it means something else: never used

    def _gives(self, shape: RowShape, fields: Mapping[str, Any], message: Message, where: Mapping[str, Any]) -> bool:
        if _canonical(self._cls, shape.payload(fields)) != message.SerializeToString(deterministic=True):
            return False
        return packed(shape.context, fields) == build_context(where).SerializeToString(deterministic=True)

    def _due(self, shape: Shape) -> bool:
        if shape not in self._seen and len(self._seen) >= _SHAPES:
            return False
        self._seen[shape] += 1
        return self._seen[shape] >= _SIGHTINGS


class ContextShapes(CallShapes):
    """The shapes of contexts: there are as many as sets of fields, and each has rows, however long its texts are."""

    _most_shapes, _longest = 1 << len(CONTEXT_FIELDS), 1 << 63

    def __init__(self) -> None:
        super().__init__(context_pb2.Context)

    def _build(self, fields: Mapping[str, Any]) -> Message:
        return build_context(fields)


def _required(cls: type[Message]) -> frozenset[str]:
    try:
        return event_type(cls).requires
    except SchemaError:  # no event, such as Context
        return frozenset()


def _checked(shape: RowShape, fields: Mapping[str, Any]) -> int:
    return -1 if shape.check is None else shape.check(fields)


def _canonical(cls: type[Message], payload: bytes) -> bytes:
    """Return a payload as protobuf writes it: without the zeros of fields that have no presence."""
    return cls.FromString(payload).SerializeToString(deterministic=True)


CONTEXT_SHAPES = ContextShapes()
"""The shapes of contexts, for all runs."""
_shapes: dict[type[Message], CallShapes] = {}


def call_shapes(cls: type[Message]) -> CallShapes:
    """Return the shapes of calls of an event class: one object for all runs and contexts."""
    shapes = _shapes.get(cls)
    if shapes is None:
        shapes = _shapes.setdefault(cls, CallShapes(cls))
    return shapes


def _exact(value: Any) -> Any:
    """Return a value of a subclass as one of the type itself, by that type's own code."""
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    return str.__str__(value) if isinstance(value, str) else value
