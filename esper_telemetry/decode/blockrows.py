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
    from esper_telemetry.recordfile.block_columns import BlockColumns
    from esper_telemetry.recordfile.column_values import ColumnValues


class _Absent:
    """What stands where a field is unset; false, as a default is."""

    def __bool__(self) -> bool:
        return False


_ABSENT = _Absent()


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
        shares: what each event takes of the bytes of the block, and the number from which on it is a byte less.
    """

    __slots__ = ("context", "kind", "origin", "payload", "shares")

    def __init__(
        self, kind: EventKind, origin: Origin, payload: _Part, context: _Part, shares: tuple[int, int]
    ) -> None:
        # No columns: an event that is kept would keep those of all.
        self.kind = kind
        self.origin = origin
        self.payload = tuple(payload.shown)
        self.context = tuple(context.shown)
        self.shares = shares


class BlockEvent(Event):
    """An event that travelled by column: it has its data at once, of which `context` and `message` are made."""

    __slots__ = ("_shared", "data")

    def __init__(self, shared: BlockShared, seq: int, time_unix_nano: int, data: dict[str, Any]) -> None:
        self._shared = shared
        self._kind = shared.kind
        self._origin = shared.origin
        self.seq = seq
        self.time_unix_nano = time_unix_nano
        self.data: dict[str, Any] = data  # payload and context in one dict, as of any event

    @property
    def size(self) -> int:
        """Its share of the bytes that the block took."""
        share, from_seq = self._shared.shares
        return share - (self.seq >= from_seq)

    @property
    def context(self) -> context_pb2.Context:
        """Where in the run it happened. What is unset was not bound: ask with HasField."""
        known = context_pb2.Context.DESCRIPTOR.fields_by_name
        return context_pb2.Context(**{name: value for name, value in self._where().items() if name in known})

    @property
    def message(self) -> Message:
        """The message, of a class made from the record's own descriptors."""
        return self._kind.message_of(self._own())

    @property
    def payload(self) -> bytes:
        """The serialized message."""
        return self.message.SerializeToString()

    def _own(self) -> dict[str, Any]:
        return {name: self.data[name] for name in self._shared.payload}

    def _where(self) -> dict[str, Any]:
        return {name: self.data[name] for name in self._shared.context}


class OverlappingEvent(BlockEvent):
    """One whose data do not tell message and context apart: both have a field of the same name, or some are unset."""

    __slots__ = ("_parts",)

    def __init__(
        self,
        shared: BlockShared,
        seq: int,
        time_unix_nano: int,
        data: dict[str, Any],
        parts: tuple[dict[str, Any], dict[str, Any]],
    ) -> None:
        super().__init__(shared, seq, time_unix_nano, data)
        self._parts = parts

    def _own(self) -> dict[str, Any]:
        return self._parts[0]

    def _where(self) -> dict[str, Any]:
        return self._parts[1]


def block_events(
    block: BlockColumns, kind: EventKind, origin: Origin, places: Sequence[int], wanted: Filter
) -> list[BlockEvent] | None:
    """Return the events of a block that are wanted; None where its declared type does not explain it.

    Of columns nothing is decoded but the stretch from the first event that is wanted to the last one.

    Args:
        block: the block.
        kind: type of its events.
        origin: its segment.
        places: those of its events that are wanted by type, time and sequence number, rising.
        wanted: which of them by environment, batch and step.
    """
    if kind.cls is None or block.payloads is not None:
        return None
    if not len(places):
        return []
    start, stop = places[0], places[-1] + 1
    payload = _part(block.columns, descriptor_of(kind.cls), start, stop)
    context = _part(block.context, origin.schema.context_descriptor, start, stop)
    if payload is None or context is None:
        return None
    # From here on a place is one of the stretch.
    places = range(stop - start) if len(places) == stop - start else [place - start for place in places]
    shared = BlockShared(kind, origin, payload, context, block.shares())
    if wanted.by_place and not payload.gaps:
        places = _in_place(wanted, payload, context, places)
    seqs, times = (_taken(column[start:stop], places) for column in (block.seqs, block.times))
    if not payload.gaps and payload.shown.keys().isdisjoint(context.shown):
        both = _Part(payload.shown | context.shown, payload.names + context.names, payload.columns + context.columns)
        return list(map(BlockEvent, repeat(shared), seqs, times, _dicts(both, places)))
    own, where = _dicts(payload, places), _dicts(context, places)
    data = [one | other | one for one, other in zip(own, where, strict=True)]
    events: list[BlockEvent] = list(
        map(OverlappingEvent, repeat(shared), seqs, times, data, zip(own, where, strict=True))
    )
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
    return column if isinstance(places, range) else list(map(column.__getitem__, places))


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


def _part(columns: Mapping[int, ColumnValues], message: Descriptor, start: int, stop: int) -> _Part | None:
    """Return a stretch of columns as fields of a message; None where one of them is not declared so."""
    shown: dict[str, Any] = {}
    names, own = [], []
    gaps = False
    for number, column in sorted(columns.items()):
        field: Any = message.fields_by_number.get(number)
        if field is None or field.type != column.type or is_repeated(field):
            return None
        if field.enum_type is not None and field.enum_type.is_closed:  # a number without a label is no value there
            return None
        values = _values_of(column, field, start, stop)
        if not field.has_presence and not all(values) and any(value is _ABSENT for value in values):
            if column.shared:
                continue
            gaps = True
        shown[field.name] = values[0]
        if not column.shared:
            names.append(field.name)
            own.append(values)
    return _Part(shown, tuple(names), own, gaps)


def _values_of(column: ColumnValues, field: FieldDescriptor, start: int, stop: int) -> Sequence[Any]:
    """Return the values of a column as readers see them: labels of enums, absent where the default is unset."""
    values = [column.one()] if column.shared else column.values(start, stop)
    labels = None if field.enum_type is None else enum_labels(field.enum_type)
    if field.has_presence:
        return values if labels is None else [labels.get(number, number) for number in values]
    if labels is not None:
        return [labels.get(number, number) if number else _ABSENT for number in values]
    return values if all(values) else [value if value or _is_set(value) else _ABSENT for value in values]


def _is_set(value: Any) -> bool:
    """Tell whether a value that is false was measured: of those only -0.0 is on the wire."""
    return isinstance(value, float) and math.copysign(1.0, value) < 0
