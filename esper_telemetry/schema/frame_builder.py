"""From events to the piece of RecordFile that a frame holds: the one place where events are grouped into blocks.

The recorder, compaction, `filter` and `merge` write what this makes of their events. Events of one type with the same
fields set become a block, wherever they stand in the frame; of a group that is too small for one each stays an
envelope. Readers restore the order by sequence number. Pure: it knows no file, no class and no thread.
"""

from __future__ import annotations

from array import array
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.schema.dictionary_column import DictionaryColumn
from esper_telemetry.schema.envelope import frame_event
from esper_telemetry.schema.event_block import COLUMN_TYPES, FEWEST_EVENTS, Field, encode_block, encode_column
from esper_telemetry.schema.event_block import encode_payload_block as encode_payloads
from esper_telemetry.schema.field_bytes import pack_message
from esper_telemetry.schema.plain import is_repeated
from esper_telemetry.v1 import context_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.message import Message

_CONTEXT = context_pb2.Context.DESCRIPTOR.fields_by_name
# Some 0.1 ms of encoding.
_VALUES_AT_ONCE = 4096
_NUMBERS_AN_OBJECT = 8  # of an array, in the time of one
_BATCH_IDX, _STEP = _CONTEXT["batch_idx"].number, _CONTEXT["step"].number


class EventGroup(NamedTuple):
    """Events of one type with the same fields set.

    Attributes:
        type_id: id in the type table.
        seqs: sequence number of each event, rising.
        times: time of each, nanoseconds since 1970 UTC, or since what `build_frame` is given.
        context_fields: fields of Context that are set, by number.
        context: a column for each of them: a value for each event, or the one that all share.
        fields: fields of the message that are set, by number; None where `columns` is one column of payloads.
        columns: as `context`; with `fields` None the serialized message of each event, in one column.
    """

    type_id: int
    seqs: Sequence[int]
    times: Sequence[int]
    context_fields: tuple[Field, ...]
    context: Sequence[Sequence[Any]]
    fields: tuple[Field, ...] | None
    columns: Sequence[Sequence[Any]]


class BuiltFrame(NamedTuple):
    """What a frame holds before compression.

    Attributes:
        raw: a piece of RecordFile.
        batch_range: smallest and largest Context.batch_idx; None where no event has one.
        step_range: the same of Context.step.
    """

    raw: bytes
    batch_range: tuple[int, int] | None
    step_range: tuple[int, int] | None


def build_frame(
    groups: Iterable[EventGroup], pause: Callable[[], None] = lambda: None, *, since: int = 0
) -> BuiltFrame:
    """Make the piece of RecordFile that holds some events.

    Args:
        groups: the events, in any order; those of one type with the same fields set may come in several groups.
        pause: called after some columns: a writer thread lets others run.
        since: moment that all times are reckoned from, nanoseconds since 1970 UTC: adding it to each would cost as much
            as writing them.
    """
    paced = _Paced(pause)
    kinds: dict[Any, list[EventGroup]] = {}
    for group in groups:
        kinds.setdefault((group.type_id, group.context_fields, group.fields), []).append(group)
    whole = sorted(map(_merged, kinds.values()), key=lambda group: group.seqs[0])
    singles = [group for group in whole if len(group.seqs) < FEWEST_EVENTS]
    pieces = [element for _, element in sorted(chain.from_iterable(_envelopes(group, since) for group in singles))]
    pieces += [_block(group, since, paced) for group in whole if len(group.seqs) >= FEWEST_EVENTS]
    return BuiltFrame(b"".join(pieces), _range_of(whole, _BATCH_IDX), _range_of(whole, _STEP))


class _Paced:
    """Calls `pause` once for so many values, however many columns they are in: each call costs as much as 20 values."""

    def __init__(self, pause: Callable[[], None]) -> None:
        self._pause = pause
        self._left = _VALUES_AT_ONCE

    def take(self, values: int) -> None:
        """Note that a column of so many values is next."""
        self._left -= values
        if self._left < 0:
            self._left = _VALUES_AT_ONCE
            self._pause()


def _block(group: EventGroup, since: int, paced: _Paced) -> bytes:
    context = _encoded(group.context_fields, group.context, paced)
    if group.fields is None:
        return encode_payloads(group.type_id, group.seqs, group.times, context, group.columns[0], since=since)
    columns = _encoded(group.fields, group.columns, paced)
    return encode_block(group.type_id, group.seqs, group.times, context, columns, since=since)


def _encoded(fields: tuple[Field, ...], columns: Sequence[Sequence[Any]], paced: _Paced) -> Iterable[bytes]:
    for field, values in zip(fields, columns, strict=True):
        paced.take(_effort(values))
        yield encode_column(field, values)


def _effort(values: Sequence[Any]) -> int:
    """Return how many objects have to be looked at to encode a column, about."""
    if isinstance(values, DictionaryColumn):
        return len(values.values)
    return len(values) // _NUMBERS_AN_OBJECT if isinstance(values, array) else len(values)


def _envelopes(group: EventGroup, since: int) -> Iterable[tuple[int, bytes]]:
    """Yield the sequence number of each event, and its element of `RecordFile.event`."""
    contexts = _rows(group.context, len(group.seqs))
    rows = _rows(group.columns, len(group.seqs))
    for seq, time, where, row in zip(group.seqs, group.times, contexts, rows, strict=True):
        payload = row[0] if group.fields is None else pack_message(group.fields, row)
        yield seq, frame_event(group.type_id, since + time, seq, pack_message(group.context_fields, where), payload)


def _merged(groups: list[EventGroup]) -> EventGroup:
    """Return events of several groups of a kind as one, in the order of their sequence numbers."""
    if len(groups) == 1:
        return groups[0]
    seqs = list(chain.from_iterable(group.seqs for group in groups))
    order = sorted(range(len(seqs)), key=seqs.__getitem__)
    in_order = itemgetter(*order)

    def joined(columns: Callable[[EventGroup], Sequence[Sequence[Any]]]) -> list[Sequence[Any]]:
        widened = [[_widened(one, len(group.seqs)) for one in columns(group)] for group in groups]
        return [in_order(list(chain.from_iterable(parts))) for parts in zip(*widened, strict=True)]

    times = list(chain.from_iterable(group.times for group in groups))
    return groups[0]._replace(
        seqs=in_order(seqs),
        times=in_order(times),
        context=joined(lambda group: group.context),
        columns=joined(lambda group: group.columns),
    )


def _widened(column: Sequence[Any], events: int) -> Sequence[Any]:
    """Return a value for each event."""
    return column if len(column) == events else [column[0]] * events


def _rows(columns: Sequence[Sequence[Any]], events: int) -> Iterable[tuple[Any, ...]]:
    if not columns:
        return [()] * events
    return zip(*(_widened(one, events) for one in columns), strict=True)


def _range_of(groups: Iterable[EventGroup], number: int) -> tuple[int, int] | None:
    """Return the extremes of a field of Context."""
    columns = [
        values.values if isinstance(values, DictionaryColumn) else values
        for group in groups
        for field, values in zip(group.context_fields, group.context, strict=True)
        if field.number == number
    ]
    if not columns:
        return None
    return min(map(min, columns)), max(map(max, columns))


class EventRows:
    """Events that are given one by one, in rising order of their sequence numbers.

    For what has events as messages: compaction, `filter`, `merge`, an import. One thread.
    """

    def __init__(self) -> None:
        self._kinds: dict[Any, tuple[list[Any], ...]] = {}

    def add(
        self, type_id: int, seq: int, time: int, context: Message, payload: bytes, *, message: Message | None = None
    ) -> None:
        """Add an event.

        Args:
            type_id: id in the type table.
            seq: its sequence number.
            time: nanoseconds since 1970 UTC.
            context: a Context.
            payload: the serialized message, which is kept byte for byte where columns would not give it back.
            message: the same, parsed; None where its type is not known.
        """
        row = None if message is None else exact_row(message, payload)
        where_fields, where = row_of(context) or ((), ())
        fields, values = (None, (payload,)) if row is None else row
        kind = self._kinds.setdefault((type_id, where_fields, fields), ([], [], [], []))
        for kept, value in zip(kind, (seq, time, where, values), strict=True):
            kept.append(value)

    def groups(self) -> list[EventGroup]:
        """Return the events, for `build_frame`."""
        return [
            EventGroup(type_id, seqs, times, where, _columns(contexts), fields, _columns(rows))
            for (type_id, where, fields), (seqs, times, contexts, rows) in self._kinds.items()
        ]


def _columns(rows: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
    return list(zip(*rows, strict=True))


def exact_row(message: Message, payload: bytes) -> tuple[tuple[Field, ...], tuple[Any, ...]] | None:
    """Return fields and values of a message if its payload can be made of them again, byte for byte; else None."""
    row = row_of(message)
    return row if row is not None and pack_message(*row) == payload else None


def row_of(message: Message) -> tuple[tuple[Field, ...], tuple[Any, ...]] | None:
    """Return the fields of a message that are set, by number, and their values; None where one is no single value."""
    found = message.ListFields()
    if not all(_is_single(field, value) for field, value in found):
        return None
    return tuple(Field(field.number, field.type) for field, _ in found), tuple(value for _, value in found)


def _is_single(field: FieldDescriptor, value: Any) -> bool:
    """Tell whether a column holds a value: proto2 has texts that are no UTF-8, which Python is given as bytes."""
    return field.type in COLUMN_TYPES and not field.is_extension and not is_repeated(field) and type(value) is not bytes


def fields_of(cls: type[Message], names: Iterable[str]) -> tuple[Field, ...]:
    """Return fields of a message class, by number."""
    known: Mapping[str, Any] = cls.DESCRIPTOR.fields_by_name
    return tuple(sorted(Field(known[name].number, known[name].type) for name in names))
