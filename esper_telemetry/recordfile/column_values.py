"""A column of a block of events, checked: as many values as events, or one for all, and texts that exist.

Values are made of the stretch of events that is asked for, and of nothing else. Pure: bytes in, values out.
"""

from __future__ import annotations

import struct
from itertools import accumulate, chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.schema.envelope import varint
from esper_telemetry.schema.event_block import COLUMN_TYPES
from esper_telemetry.schema.planes import (
    DOUBLE_BYTES,
    FLOAT_BYTES,
    MAX_WIDTH,
    real_numbers,
    unpack_integers,
    unpack_reals,
)

if TYPE_CHECKING:
    from array import array

    from esper_telemetry.v1 import record_pb2

_I64, _U64 = 1 << 63, 1 << 64
_REPRESENTATIONS = ("doubles", "floats", "ints", "int_steps", "texts", "flags", "first")
_FIRST_ALONE = _REPRESENTATIONS.index("first")
_BYTES = bytes(range(256))
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
    present = column.doubles, column.floats, column.ints, column.int_steps, column.texts, column.flags
    filled = list(map(bool, present))
    number, of_type, packed, begun = column.field, column.type, column.indices, column.HasField("first")
    place = filled.index(True) if any(filled) else _FIRST_ALONE
    kind = _REPRESENTATIONS[place]
    if (
        not number
        or filled.count(True) > 1
        or kind not in _TAKES.get(of_type, ())
        or begun != (kind in _BEGUN)
        or (packed and kind != "texts")
    ):
        kinds = [*filter(None, (one if is_set else "" for one, is_set in zip(_REPRESENTATIONS, filled, strict=False)))]
        raise CorruptRecordError(
            f"{where}: column {number} of type {of_type} holds {kinds or 'nothing'}{' and a first number' * begun}"
            f"{' and indices' * bool(packed)}; it takes {sorted(_TAKES.get(of_type, ()))}"
        )
    if place == _FIRST_ALONE:
        return ColumnValues(number, of_type, events, True, kind, b"", column.first, ())  # noqa: FBT003 - shared
    data: Any = present[place]
    if kind in _WHOLE:
        check_planes(data, events - begun, f"{where}: {kind}")
        return ColumnValues(number, of_type, events, False, kind, data, column.first, ())  # noqa: FBT003 - not shared
    if packed:
        indices = _indices(packed, events, len(data), f"{where}: column {number}")
        return ColumnValues(number, of_type, events, False, kind, data, 0, indices)  # noqa: FBT003 - not shared
    count, rest = divmod(len(data), REAL_BYTES.get(kind, 1))
    if kind == "flags":
        count = events if count == -(-events // 8) else 0
    shared = count == 1 and events > 1 and kind != "flags"
    if rest or (count != events and not shared):
        raise CorruptRecordError(
            f"{where}: column {number} has {count:,} {kind}; {events:,} were expected, or one for all"
        )
    return ColumnValues(number, of_type, events, shared, kind, data, 0, ())


def _indices(packed: bytes, events: int, texts: int, where: str) -> array[int]:
    """Return the places of the texts of events, each of which is there."""
    check_planes(packed, events, f"{where}: indices")
    indices = unpack_integers(packed, events, signed=False)
    if texts <= len(_BYTES) and indices.itemsize == 1:  # what is left without the places that there are
        beyond = bool(packed.translate(None, _BYTES[:texts]))
    else:
        beyond = max(indices) >= texts
    if beyond:
        raise CorruptRecordError(f"{where} has an index of a text beyond the {texts:,} that there are")
    return indices


# Representations of integers, and those of them that `first` belongs to.
_WHOLE, _BEGUN = frozenset({"first", "ints", "int_steps"}), frozenset({"first", "int_steps"})


def checked_column(column: record_pb2.Column, events: int, where: str) -> ColumnValues:
    """Return a column as `column_values` does, its numbers held against the type of the field.

    Raises:
        CorruptRecordError: as `column_values`, or the type of the field holds less.
    """
    values = column_values(column, events, where)
    if values.representation in _WHOLE:
        _check_range(values, f"{where}: column {values.field}")
    return values


def _check_range(column: ColumnValues, where: str) -> None:
    least, limit = _RANGES[column.type]
    low, high = (-_I64, _I64) if limit == _U64 else (least, limit)
    if _is_narrow(column, low, high):
        return
    numbers = column.numbers()
    if min(numbers) < low or max(numbers) >= high:
        raise CorruptRecordError(f"{where} holds numbers that a field of type {column.type} does not")


def _is_narrow(column: ColumnValues, low: int, high: int) -> bool:
    """Tell whether integers fit a range by their width alone, without a look at them: most do."""
    if column.representation == "first":
        return low <= column.first < high
    stepped = column.representation == "int_steps"
    count = column.events - stepped
    width = len(column.data) // count
    most = 1 << 8 * width - 1
    least = 0 if column.data[(width - 1) * count :].isascii() else -most
    if stepped:
        return low <= column.first + count * least and column.first + count * most <= high
    return low <= least and most <= high


_DOUBLE = struct.Struct("<d").pack


def _two_complement(number: int) -> bytes:
    return varint(number % _U64)


def _zigzag(number: int) -> bytes:
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def check_planes(data: bytes, count: int, what: str) -> None:
    """Check that bytes are planes of so many integers.

    Raises:
        CorruptRecordError: they are not.
    """
    width, rest = divmod(len(data), count) if count else (1, len(data))
    if rest or not 0 < width <= MAX_WIDTH:
        raise CorruptRecordError(f"{what} take {len(data):,} bytes, which is not 1 to 8 for each of {count:,}")
