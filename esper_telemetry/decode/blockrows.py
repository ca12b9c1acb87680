"""Events of a block as a reader sees them: their data are made of its columns, all at once.

No message is serialized or parsed for them; `message` and `payload` are made on demand. A block with something that its
declared type does not explain is left to the caller, who takes its events as envelopes.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import repeat
from operator import setitem
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.decode.event import Event
from esper_telemetry.decode.types import descriptor_of
from esper_telemetry.schema import enum_labels, is_repeated
from esper_telemetry.v1 import context_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.message import Message

    from esper_telemetry.decode.event_filter import Filter
    from esper_telemetry.decode.types import EventKind, Origin
    from esper_telemetry.recordfile.block_columns import BlockColumns, ColumnValues

_ABSENT = object()


class _Part(NamedTuple):
    """The fields of a block's messages or of its contexts.

    Attributes:
        shown: all of them in order, with the values that all events share.
        names: those with a value for each event, in order.
        columns: these values.
        gaps: some value is absent: unset, for its field has no presence and holds its default.
    """

    shown: dict[str, Any]
    names: tuple[str, ...]
    columns: list[Sequence[Any]]
    gaps: bool = False


class BlockShared:
    """What the events of a block share.

    Attributes:
        kind: the type of the events.
        origin: their segment.
        payload: names of the fields of the message that are set, by number.
        context: the same of the context.
    """

    __slots__ = ("context", "kind", "origin", "payload")

    def __init__(self, kind: EventKind, origin: Origin, payload: _Part, context: _Part) -> None:
        # No columns: an event that is kept would keep those of all.
        self.kind = kind
        self.origin = origin
        self.payload = tuple(payload.shown)
        self.context = tuple(context.shown)


class BlockEvent(Event):
    """An event that travelled by column: it has its data at once, of which `context` and `message` are made."""

    __slots__ = ("_parts", "_shared", "_size")

    def __init__(
        self,
        shared: BlockShared,
        envelope: tuple[int, int, int],
        data: dict[str, Any],
        parts: tuple[dict[str, Any], dict[str, Any]] | None = None,
    ) -> None:
        self._shared = shared
        self._kind = shared.kind
        self._origin = shared.origin
        self.seq, self.time_unix_nano, self._size = envelope
        self._data: dict[str, Any] = data
        self._parts = parts  # payload and context, where `data` does not tell them apart

    @property
    def data(self) -> dict[str, Any]:
        """Payload and context in one dict, as of any event."""
        return self._data

    @property
    def size(self) -> int:
        """Its share of the bytes that the block took."""
        return self._size

    @property
    def context(self) -> context_pb2.Context:
        """Where in the run it happened. What is unset was not bound: ask with HasField."""
        known = context_pb2.Context.DESCRIPTOR.fields_by_name
        data = self._data
        values = {name: data[name] for name in self._shared.context} if self._parts is None else self._parts[1]
        return context_pb2.Context(**{name: value for name, value in values.items() if name in known})

    @property
    def message(self) -> Message:
        """The message, of a class made from the record's own descriptors."""
        data = self._data
        values = {name: data[name] for name in self._shared.payload} if self._parts is None else self._parts[0]
        return self._kind.message_of(values)

    @property
    def payload(self) -> bytes:
        """The serialized message."""
        return self.message.SerializeToString()


def block_events(
    block: BlockColumns, kind: EventKind, origin: Origin, places: Sequence[int], wanted: Filter
) -> list[BlockEvent] | None:
    """Return the events of a block that are wanted; None where its declared type does not explain it.

    Args:
        block: the block.
        kind: type of its events.
        origin: its segment.
        places: those of its events that are wanted by type, time and sequence number, rising.
        wanted: which of them by environment, batch and step.
    """
    if kind.cls is None or block.payloads is not None:
        return None
    payload = _part(block.columns, descriptor_of(kind.cls))
    context = _part(block.context, origin.schema.context_descriptor)
    if payload is None or context is None:
        return None
    shared = BlockShared(kind, origin, payload, context)
    if wanted.by_place and not payload.gaps:
        places = _in_place(wanted, payload, context, places)
    each = zip(*(_taken(column, places) for column in (block.seqs, block.times, block.sizes())), strict=True)
    if not payload.gaps and payload.shown.keys().isdisjoint(context.shown):
        both = _Part(payload.shown | context.shown, payload.names + context.names, payload.columns + context.columns)
        return list(map(BlockEvent, repeat(shared), each, _dicts(both, places)))
    own, where = _dicts(payload, places), _dicts(context, places)
    data = [one | other | one for one, other in zip(own, where, strict=True)]
    events = list(map(BlockEvent, repeat(shared), each, data, zip(own, where, strict=True)))
    if wanted.by_place and payload.gaps:  # where a field is unset, that of the context counts
        return [event for event in events if wanted.wants_place(event.data)]
    return events


def _dicts(part: _Part, places: Sequence[int]) -> list[dict[str, Any]]:
    """Return the set fields of each event, made field by field: at half the price of event by event."""
    found = [part.shown.copy() for _ in places]
    for name, column in zip(part.names, part.columns, strict=True):
        deque(map(setitem, found, repeat(name), _taken(column, places)), maxlen=0)
    if not part.gaps:
        return found
    return [{name: value for name, value in one.items() if value is not _ABSENT} for one in found]


def _taken(column: Sequence[Any], places: Sequence[int]) -> Sequence[Any]:
    if isinstance(places, range):
        return column[places.start : places.stop]
    return list(map(column.__getitem__, places))


def _in_place(wanted: Filter, payload: _Part, context: _Part, places: Sequence[int]) -> Sequence[int]:
    """Return those of `places` whose environment, batch and step are wanted."""
    for name in wanted.place_names:
        part = payload if name in payload.shown else context
        if name in part.names:
            column = part.columns[part.names.index(name)]
            fits = {value: wanted.wants_at(name, value) for value in set(column)}
            places = [place for place in places if fits[column[place]]]
        elif not wanted.wants_at(name, part.shown.get(name)):
            return []
    return places


def _part(columns: Mapping[int, ColumnValues], message: Descriptor) -> _Part | None:
    """Return columns as fields of a message; None where one of them is not declared so."""
    shown: dict[str, Any] = {}
    names, own = [], []
    gaps = False
    for number, column in sorted(columns.items()):
        field: Any = message.fields_by_number.get(number)
        if field is None or field.type != column.type or is_repeated(field):
            return None
        if field.enum_type is not None and field.enum_type.is_closed:  # a number without a label is no value there
            return None
        values = _values_of(column, field)
        if not field.has_presence and any(value is _ABSENT for value in values):
            if column.shared:
                continue
            gaps = True
        shown[field.name] = values[0]
        if not column.shared:
            names.append(field.name)
            own.append(values)
    return _Part(shown, tuple(names), own, gaps)


def _values_of(column: ColumnValues, field: FieldDescriptor) -> Sequence[Any]:
    """Return the values of a column as readers see them: labels of enums, absent where the default is unset."""
    values = [column.one()] if column.shared else column.values()
    labels = None if field.enum_type is None else enum_labels(field.enum_type)
    if field.has_presence:
        return values if labels is None else [labels.get(number, number) for number in values]
    if labels is not None:
        return [labels.get(number, number) if number else _ABSENT for number in values]
    return [value if value or _is_set(value) else _ABSENT for value in values]


def _is_set(value: Any) -> bool:
    """Tell whether a value that is false was measured: of those only -0.0 is on the wire."""
    return isinstance(value, float) and math.copysign(1.0, value) < 0
