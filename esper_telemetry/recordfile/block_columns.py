"""Events of one type by column: how an `EventBlock` is read. `schema/event_block.py` writes them.

A block is checked whole before the first value of it is given out: as many values as events, or one for all; rising
sequence numbers; places of texts that exist. Values are made a column at a time, of the columns and of the stretch of
events that are asked for; nothing here makes an object for an event but `payloads` and `contexts`. Pure: bytes in,
values out.
"""

from __future__ import annotations

import struct
from itertools import accumulate, chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.schema.envelope import varint
from esper_telemetry.schema.event_block import COLUMN_TYPES, MAX_CELLS
from esper_telemetry.schema.planes import (
    DOUBLE_BYTES,
    FLOAT_BYTES,
    MAX_WIDTH,
    real_numbers,
    unpack_integers,
    unpack_reals,
)
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Sequence

_I64, _U64 = 1 << 63, 1 << 64
_REPRESENTATIONS = ("doubles", "floats", "ints", "int_steps", "texts", "flags")
REAL_BYTES = {"doubles": DOUBLE_BYTES, "floats": FLOAT_BYTES}
_BITS = tuple(tuple(bool(byte >> bit & 1) for bit in range(8)) for byte in range(256))

_TYPE = FieldDescriptor
# Which representations a field may have.
_TAKES = {
    **dict.fromkeys(COLUMN_TYPES, frozenset({"first", "ints", "int_steps"})),
    _TYPE.TYPE_DOUBLE: frozenset({"doubles", "floats"}),
    _TYPE.TYPE_FLOAT: frozenset({"floats"}),
    _TYPE.TYPE_STRING: frozenset({"texts"}),
    _TYPE.TYPE_BOOL: frozenset({"first", "flags"}),
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
        representation: "doubles", "floats", "ints", "int_steps", "texts" or "flags"; "first" for a shared number.
        data: the bytes of the representation, in the order that they have there (`schema.planes`); the list of texts.
        first: the shared number, or the first one of steps.
        indices: place in `data` of each event's text; empty where the texts are those of the events, or the one of all.
    """

    field: int
    type: int
    events: int
    shared: bool
    representation: str
    data: Any
    first: int
    indices: array[int] | tuple[()]

    def one(self) -> Any:
        """Return the value that all events share."""
        return self._distinct(0, 1)[0]

    def values(self, start: int = 0, stop: int | None = None) -> list[Any]:
        """Return the value of each event: float, int, bool or str; an enum's number; a float of single precision.

        Args:
            start: the first event that is wanted, by its place in the block.
            stop: the event after the last one; None for all.
        """
        stop = self.events if stop is None else stop
        if self.shared:
            return self._distinct(0, 1) * (stop - start)
        if len(self.indices):
            return list(map(self.data.__getitem__, self.indices[start:stop]))
        return self._distinct(start, stop)

    def _distinct(self, start: int, stop: int) -> list[Any]:
        """Return values that the column states; texts without regard to indices."""
        kind, data = self.representation, self.data
        if kind in REAL_BYTES:
            size = REAL_BYTES[kind]
            return real_numbers(data if self.shared else unpack_reals(data, size, start, stop), size).tolist()
        if kind == "texts":
            return list(data[start:stop])
        if kind == "flags":
            bits = chain.from_iterable(map(_BITS.__getitem__, data[start // 8 :]))
            return list(islice(bits, start % 8, start % 8 + stop - start))
        numbers = self.numbers()[start:stop]
        if self.type == _TYPE.TYPE_BOOL:
            return list(map(bool, numbers))
        if _RANGES[self.type][1] == _U64 and min(numbers, default=0) < 0:
            return [number + _U64 if number < 0 else number for number in numbers]
        return numbers

    def numbers(self) -> list[int]:
        """Return the integers that the column states, as they stand there: one of 2^63 and more is negative."""
        if self.representation == "first":
            return [self.first]
        if self.representation == "ints":
            return unpack_integers(self.data, self.events).tolist()
        return list(accumulate(unpack_integers(self.data, self.events - 1), initial=self.first))

    def serialized(self) -> list[bytes]:
        """Return the field as each event's message has it: tag and value."""
        tag = varint(self.field << 3 | _WIRE_TYPES[self.type])
        if self.representation == "doubles" or (self.representation, self.type) == ("floats", _TYPE.TYPE_FLOAT):
            size = REAL_BYTES[self.representation]
            data = bytes(self.data if self.shared else unpack_reals(self.data, size))
            each = [tag + data[at : at + size] for at in range(0, len(data), size)]
        elif self.type == _TYPE.TYPE_DOUBLE:
            each = [tag + _DOUBLE(value) for value in self._distinct(0, self.events)]
        elif self.type == _TYPE.TYPE_STRING:
            each = [tag + varint(len(text)) + text for text in map(str.encode, self.data)]
            each = list(map(each.__getitem__, self.indices)) if len(self.indices) else each
        else:
            pack = _FIXED.get(self.type) or (_zigzag if self.type in _ZIGZAG else _two_complement)
            numbers = self._distinct(0, self.events)
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
        size: bytes of the block before compression; 0 where they are not known.
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


def parse_block(serialized: bytes) -> BlockColumns:
    """Return a block, checked.

    Args:
        serialized: an `EventBlock`.

    Raises:
        CorruptRecordError: it is none, contradicts itself, or is over a limit.
    """
    try:
        block = record_pb2.EventBlock.FromString(serialized)
    except DecodeError as error:
        raise CorruptRecordError(f"the frame holds a block that is none: {error}") from None
    return block_columns(block, size=len(serialized))


def block_columns(block: record_pb2.EventBlock, *, size: int = 0) -> BlockColumns:
    """Check a parsed block.

    Args:
        block: an `EventBlock`.
        size: bytes that it took; 0 where that is not asked.

    Raises:
        CorruptRecordError: it contradicts itself, or is over a limit.
    """
    events = block.events
    where = f"a block of {events:,} events from sequence number {block.first_seq:,}"
    if not block.type_id or not events:
        raise CorruptRecordError(f"{where} has no type, or no events")
    seqs, times = _seqs(block, where), _times(block, where)
    payloads = block.payloads if len(block.payloads) else None
    if payloads is not None and (len(payloads) != events or len(block.columns)):
        raise CorruptRecordError(f"{where} has {len(payloads):,} payloads and {len(block.columns)} columns")
    if events * (len(block.context) + len(block.columns)) > MAX_CELLS:
        raise CorruptRecordError(f"{where} states over {MAX_CELLS:,} values, the limit of a frame")
    return BlockColumns(
        block.type_id, seqs, times, _by_field(block.context, events, where), _by_field(block.columns, events, where),
        payloads, size,
    )  # fmt: skip


def _seqs(block: record_pb2.EventBlock, where: str) -> list[int]:
    steps = _further(block.seq_steps, block.events, f"{where}: its sequence numbers", signed=False)
    seqs = list(accumulate(steps, initial=block.first_seq))
    if not seqs[0] or 0 in steps or seqs[-1] >= _U64:
        raise CorruptRecordError(f"{where} has sequence numbers that do not rise")
    return seqs


def _times(block: record_pb2.EventBlock, where: str) -> list[int]:
    steps = _further(block.time_steps, block.events, f"{where}: its times", signed=True)
    times = list(accumulate(steps, initial=block.first_time_unix_nano))
    if min(times) < 0 or max(times) >= _U64:
        raise CorruptRecordError(f"{where} has times outside of 64 bits")
    return times


def _further(data: bytes, events: int, what: str, *, signed: bool) -> Sequence[int]:
    """Return the steps to all events but the first."""
    check_planes(data, events - 1, what)
    return unpack_integers(data, events - 1, signed=signed) if events > 1 else ()


def check_planes(data: bytes, count: int, what: str) -> None:
    """Check that bytes are planes of so many integers.

    Raises:
        CorruptRecordError: they are not.
    """
    width, rest = divmod(len(data), count) if count else (1, len(data))
    if rest or not 0 < width <= MAX_WIDTH:
        raise CorruptRecordError(f"{what} take {len(data):,} bytes, which is not 1 to 8 for each of {count:,}")


def _by_field(columns: Iterable[record_pb2.Column], events: int, where: str) -> dict[int, ColumnValues]:
    found: dict[int, ColumnValues] = {}
    for column in columns:
        if column.field in found:
            raise CorruptRecordError(f"{where} has two columns of field {column.field}")
        found[column.field] = one = column_values(column, events, where)
        if one.representation in _WHOLE:
            _check_range(one, f"{where}: column {column.field}")
    return found


def column_values(column: record_pb2.Column, events: int, where: str) -> ColumnValues:
    """Check the shape of a parsed column: as many values as events, or one for all, and texts that exist.

    Whether numbers fit the type of the field is left to the caller.

    Args:
        column: a `Column`.
        events: how many events its block has, 1 at least.
        where: what an error begins with.

    Raises:
        CorruptRecordError: it contradicts itself.
    """
    kinds = [kind for kind in _REPRESENTATIONS if len(getattr(column, kind))]
    stepped = column.HasField("first")
    if not kinds and stepped:
        kinds = ["first"]
    takes = _TAKES.get(column.type, frozenset())
    where = f"{where}: column {column.field}"
    if not column.field or len(kinds) != 1 or kinds[0] not in takes or stepped != (kinds[0] in _BEGUN):
        raise CorruptRecordError(f"{where} of type {column.type} holds {kinds or 'nothing'}; it takes {sorted(takes)}")
    kind = kinds[0]
    if kind == "first":
        return ColumnValues(column.field, column.type, events, True, kind, b"", column.first, ())  # noqa: FBT003 - shared
    data = getattr(column, kind)[:]
    shared = False
    indices: array[int] | tuple[()] = ()
    if kind in ("ints", "int_steps"):
        check_planes(data, events - (kind == "int_steps"), f"{where}: {kind}")
    elif kind == "texts" and column.indices:
        check_planes(column.indices, events, f"{where}: indices")
        indices = unpack_integers(column.indices, events, signed=False)
        if max(indices) >= len(data):
            raise CorruptRecordError(f"{where} has an index of a text beyond the {len(data):,} that there are")
    else:
        count, rest = divmod(len(data), REAL_BYTES.get(kind, 1))
        if kind == "flags":
            count = events if count == -(-events // 8) else 0
        shared = count == 1 and events > 1 and kind != "flags"
        if rest or (count != events and not shared):
            raise CorruptRecordError(f"{where} has {count:,} {kind}; {events:,} were expected, or one for all")
    if column.indices and not len(indices):
        raise CorruptRecordError(f"{where} has indices of {kind}")
    return ColumnValues(column.field, column.type, events, shared, kind, data, column.first, indices)


# Representations of integers, and those of them that `first` belongs to.
_WHOLE, _BEGUN = frozenset({"first", "ints", "int_steps"}), frozenset({"first", "int_steps"})


def _check_range(column: ColumnValues, where: str) -> None:
    least, limit = _RANGES[column.type]
    low, high = (-_I64, _I64) if limit == _U64 else (least, limit)
    if column.representation == "ints":  # most are so narrow that no type of a field holds less
        width = len(column.data) // column.events
        if -1 << 8 * width - 1 >= low and 1 << 8 * width - 1 <= high:
            return
        if not low and 1 << 8 * width - 1 <= high and column.data[(width - 1) * column.events :].isascii():
            return
    numbers = column.numbers()
    if min(numbers) < low or max(numbers) >= high:
        raise CorruptRecordError(f"{where} holds numbers that a field of type {column.type} does not")


_DOUBLE = struct.Struct("<d").pack


def _two_complement(number: int) -> bytes:
    return varint(number % _U64)


def _zigzag(number: int) -> bytes:
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)
