"""Events of one type by column: how an `EventBlock` is read. `schema/event_block.py` writes them.

A block is checked whole before the first value of it is given out: as many values as events, or one for all; rising
sequence numbers; places of texts that exist. Values are made a column at a time, and only of the columns that are asked
for; nothing here makes an object for an event but `payloads` and `contexts`. Pure: bytes in, values out.
"""

from __future__ import annotations

import struct
from array import array
from itertools import accumulate, chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.schema.envelope import varint
from esper_telemetry.schema.event_block import COLUMN_TYPES, MAX_CELLS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_U64 = 1 << 64
_REPRESENTATIONS = ("doubles", "floats", "ints", "int_steps", "texts", "flags")
_WIDTHS = {"doubles": 8, "floats": 4}
_CODES = {"doubles": "d", "floats": "f"}
_BIG_ENDIAN = array("H", [1]).tobytes() == b"\0\1"
_BITS = tuple(tuple(bool(byte >> bit & 1) for bit in range(8)) for byte in range(256))

_TYPE = FieldDescriptor
# Which representations a field may have.
_TAKES = {
    **dict.fromkeys(COLUMN_TYPES, frozenset({"ints", "int_steps"})),
    _TYPE.TYPE_DOUBLE: frozenset({"doubles", "floats"}),
    _TYPE.TYPE_FLOAT: frozenset({"floats"}),
    _TYPE.TYPE_STRING: frozenset({"texts"}),
    _TYPE.TYPE_BOOL: frozenset({"ints", "flags"}),
}
_RANGES = {
    **dict.fromkeys((_TYPE.TYPE_UINT32, _TYPE.TYPE_FIXED32), (0, 1 << 32)),
    **dict.fromkeys((_TYPE.TYPE_INT32, _TYPE.TYPE_SINT32, _TYPE.TYPE_SFIXED32, _TYPE.TYPE_ENUM), (-(1 << 31), 1 << 31)),
    **dict.fromkeys((_TYPE.TYPE_INT64, _TYPE.TYPE_SINT64, _TYPE.TYPE_SFIXED64), (-(1 << 63), 1 << 63)),
    **dict.fromkeys((_TYPE.TYPE_UINT64, _TYPE.TYPE_FIXED64), (0, _U64)),
    _TYPE.TYPE_BOOL: (0, 2),
}
_WIRE_TYPES = {
    **dict.fromkeys(COLUMN_TYPES, 0),
    **dict.fromkeys((_TYPE.TYPE_DOUBLE, _TYPE.TYPE_FIXED64, _TYPE.TYPE_SFIXED64), 1),
    **dict.fromkeys((_TYPE.TYPE_FLOAT, _TYPE.TYPE_FIXED32, _TYPE.TYPE_SFIXED32), 5),
    _TYPE.TYPE_STRING: 2,
}
_TYPE_ID_TAG, _LONGEST_ID = b"\x08", 6
_FIXED = {
    _TYPE.TYPE_FIXED64: struct.Struct("<Q").pack,
    _TYPE.TYPE_SFIXED64: struct.Struct("<q").pack,
    _TYPE.TYPE_FIXED32: struct.Struct("<I").pack,
    _TYPE.TYPE_SFIXED32: struct.Struct("<i").pack,
}
_ZIGZAG = frozenset({_TYPE.TYPE_SINT32, _TYPE.TYPE_SINT64})


class ColumnValues(NamedTuple):
    """A column of a block, checked.

    Attributes:
        field: number of the field in its message.
        type: FieldDescriptor.TYPE_* of the field.
        events: how many events the block has.
        shared: it holds one value, which all events share.
        representation: "doubles", "floats", "ints", "int_steps", "texts" or "flags".
        data: little-endian bytes of doubles and floats, bytes of flags; else a sequence of numbers or texts.
        indices: place in `data` of each event's text; empty where the texts are those of the events, or the one of all.
    """

    field: int
    type: int
    events: int
    shared: bool
    representation: str
    data: Any
    indices: Sequence[int]

    def one(self) -> Any:
        """Return the value that all events share."""
        return self._distinct(1)[0]

    def values(self) -> list[Any]:
        """Return the value of each event: float, int, bool or str; an enum's number; a float of single precision."""
        if self.shared:
            return self._distinct(1) * self.events
        values = self._distinct(self.events)
        return list(map(values.__getitem__, self.indices)) if len(self.indices) else values

    def _distinct(self, count: int) -> list[Any]:
        """Return the `count` values that the column states; texts without regard to indices."""
        kind, data = self.representation, self.data
        if kind in _CODES:
            reals = array(_CODES[kind], data)
            if _BIG_ENDIAN:
                reals.byteswap()
            return reals.tolist()
        if kind == "texts":
            return list(data)
        if kind == "flags":
            return list(islice(chain.from_iterable(map(_BITS.__getitem__, data)), count))
        numbers = list(data) if kind == "ints" else list(accumulate(data))
        if self.type == _TYPE.TYPE_BOOL:
            return list(map(bool, numbers))
        if _RANGES[self.type][1] == _U64:
            return [number + _U64 if number < 0 else number for number in numbers]
        return numbers

    def serialized(self) -> list[bytes]:
        """Return the field as each event's message has it: tag and value."""
        tag = varint(self.field << 3 | _WIRE_TYPES[self.type])
        if self.representation == "doubles" or (self.representation, self.type) == ("floats", _TYPE.TYPE_FLOAT):
            width, data = _WIDTHS[self.representation], self.data
            each = [tag + data[at : at + width] for at in range(0, len(data), width)]
        elif self.type == _TYPE.TYPE_DOUBLE:
            each = [tag + _DOUBLE(value) for value in self._distinct(self.events)]
        elif self.type == _TYPE.TYPE_STRING:
            each = [tag + varint(len(text)) + text for text in map(str.encode, self.data)]
            each = list(map(each.__getitem__, self.indices)) if len(self.indices) else each
        else:
            pack = _FIXED.get(self.type) or (_zigzag if self.type in _ZIGZAG else _two_complement)
            numbers = self._distinct(self.events)
            packed = {number: tag + pack(number) for number in set(numbers)}
            each = list(map(packed.__getitem__, numbers))
        return each * self.events if self.shared else each


class BlockColumns(NamedTuple):
    """A block, checked.

    Attributes:
        type_id: id in the type table, the same for all events.
        seqs: sequence number of each event, rising.
        times: time of each, nanoseconds since 1970 UTC.
        context: a column for each set field of Context, by number.
        columns: a column for each set field of the message, by number; empty where there are payloads.
        payloads: the serialized message of each event; None where there are columns.
        size: bytes of the block before compression; 0 where that was not asked.
    """

    type_id: int
    seqs: list[int]
    times: list[int]
    context: dict[int, ColumnValues]
    columns: dict[int, ColumnValues]
    payloads: Sequence[bytes] | None
    size: int = 0

    def __len__(self) -> int:
        """Return how many events there are."""
        return len(self.seqs)

    def sizes(self) -> list[int]:
        """Return the share of each event in the bytes of the block."""
        share, rest = divmod(self.size, len(self.seqs))
        return [share + (place < rest) for place in range(len(self.seqs))]

    def serialized_contexts(self) -> list[bytes]:
        """Return the serialized Context of each event; empty bytes where none is set."""
        return joined(self.context.values(), len(self.seqs))

    def serialized_payloads(self) -> list[bytes]:
        """Return the serialized message of each event."""
        if self.payloads is not None:
            return list(self.payloads)
        return joined(self.columns.values(), len(self.seqs))


def joined(columns: Iterable[ColumnValues], events: int) -> list[bytes]:
    """Return, for each event, its fields of `columns` as one serialized message."""
    parts = [column.serialized() for column in sorted(columns, key=lambda one: one.field)]
    return list(map(b"".join, zip(*parts, strict=True))) if parts else [b""] * events


def type_of_block(serialized: bytes) -> int:
    """Return the type id that a serialized `EventBlock` begins with; 0 where it begins with something else."""
    value = 0
    if serialized[:1] == _TYPE_ID_TAG:
        for place, byte in enumerate(serialized[1:_LONGEST_ID]):
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:  # noqa: PLR2004 - the last byte of a varint has no continuation bit
                return value
    return 0


def block_columns(block: Any, *, size: int = 0) -> BlockColumns:
    """Check a parsed block.

    Args:
        block: an `EventBlock` whose doubles and floats are declared as bytes.
        size: bytes that it took.

    Raises:
        CorruptRecordError: it contradicts itself, or is over a limit.
    """
    steps = block.seq_steps[:]  # a list at once: twice as fast as one number after the other
    seqs, times = list(accumulate(steps)), list(accumulate(block.time_steps[:]))
    events = len(seqs)
    where = f"a block of {events:,} events from sequence number {seqs[0] if seqs else 0:,}"
    if not events or len(times) != events:
        raise CorruptRecordError(f"{where} has {len(times):,} times; one for each event was expected")
    if not block.type_id or 0 in steps or seqs[-1] >= _U64:
        raise CorruptRecordError(f"{where} has no type, or sequence numbers that do not rise")
    if min(times) < 0 or max(times) >= _U64:
        raise CorruptRecordError(f"{where} has times outside of 64 bits")
    payloads = block.payloads if len(block.payloads) else None
    if payloads is not None and (len(payloads) != events or len(block.columns)):
        raise CorruptRecordError(f"{where} has {len(payloads):,} payloads and {len(block.columns)} columns")
    if events * (len(block.context) + len(block.columns)) > MAX_CELLS:
        raise CorruptRecordError(f"{where} states over {MAX_CELLS:,} values, the limit of a frame")
    return BlockColumns(
        block.type_id, seqs, times, _by_field(block.context, events, where), _by_field(block.columns, events, where),
        payloads, size,
    )  # fmt: skip


def _by_field(columns: Iterable[Any], events: int, where: str) -> dict[int, ColumnValues]:
    found: dict[int, ColumnValues] = {}
    for column in columns:
        if column.field in found:
            raise CorruptRecordError(f"{where} has two columns of field {column.field}")
        found[column.field] = one = column_values(column, events, where)
        if one.representation in ("ints", "int_steps"):
            numbers = accumulate(one.data) if one.representation == "int_steps" else one.data
            _check_range(column.type, numbers, f"{where}: column {column.field}")
    return found


def column_values(column: Any, events: int, where: str) -> ColumnValues:
    """Check the shape of a parsed column: as many values as events, or one for all, and texts that exist.

    Whether numbers fit the type of the field is left to the caller.

    Args:
        column: a `Column` whose doubles and floats are declared as bytes.
        events: how many events its block has.
        where: what an error begins with.

    Raises:
        CorruptRecordError: it contradicts itself.
    """
    kinds = [kind for kind in _REPRESENTATIONS if len(getattr(column, kind))]
    takes = _TAKES.get(column.type, frozenset())
    where = f"{where}: column {column.field}"
    if not column.field or len(kinds) != 1 or kinds[0] not in takes:
        raise CorruptRecordError(f"{where} of type {column.type} holds {kinds or 'nothing'}; it takes {sorted(takes)}")
    kind = kinds[0]
    data, indices = getattr(column, kind)[:], column.indices[:]
    count, rest = divmod(len(data), _WIDTHS.get(kind, 1))
    if kind == "flags":
        count = events if len(data) == -(-events // 8) else 0
    shared = count == 1 and events > 1 and not len(indices) and kind != "flags"
    if len(indices):
        if kind != "texts" or len(indices) != events or max(indices) >= count:
            raise CorruptRecordError(f"{where} has {len(indices):,} indices of {count:,} {kind}")
    elif rest or (count != events and not shared):
        raise CorruptRecordError(f"{where} has {count:,} {kind}; {events:,} were expected, or one for all")
    return ColumnValues(column.field, column.type, events, shared, kind, data, indices)


def _check_range(kind: int, numbers: Iterable[int], where: str) -> None:
    least, limit = _RANGES[kind]
    low, high = (-(1 << 63), 1 << 63) if limit == _U64 else (least, limit)
    numbers = list(numbers)
    if min(numbers) < low or max(numbers) >= high:
        raise CorruptRecordError(f"{where} holds numbers that a field of type {kind} does not")


_DOUBLE = struct.Struct("<d").pack


def _two_complement(number: int) -> bytes:
    return varint(number % _U64)


def _zigzag(number: int) -> bytes:
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)
