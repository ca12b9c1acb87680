"""Blocks of events to the columns of their table: what lies there by column becomes Arrow's, without a value between.

Blocks with the same fields set are read as one, for a call of Arrow costs as much as a hundred values. The planes of
numbers (`schema.planes`) are put together by slices and become buffers of Arrow as they are, texts the dictionaries
that they already are: no number becomes an object of Python. The checks are those of `recordfile.column_values`, on
arrays; what they refuse is read again by that, which tells the frame.
"""

from __future__ import annotations

from array import array
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.descriptor import FieldDescriptor

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.column_values import REAL_BYTES, check_planes, column_values
from esper_telemetry.schema import is_repeated
from esper_telemetry.schema.planes import DOUBLE_BYTES, machine_size, real_numbers, unpack_integers, unpack_reals
from esper_telemetry.tables.columntypes import TEXT, column_type
from esper_telemetry.tables.conversion import labelled, null_where_default, relabelled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from google.protobuf.descriptor import Descriptor

    from esper_telemetry.recordfile.column_values import ColumnValues

# A block of fewer costs more as arrays than its events do one by one.
FEW_EVENTS = 16
_DOUBLE = FieldDescriptor.TYPE_DOUBLE
_WIDE = frozenset({FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_FIXED64})
_TO_ARROW = (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError)
_WHOLE_BYTES, _BYTE = 8, 256
_I64, _U64 = 1 << 63, 1 << 64
_SIGNED = {1: pa.int8(), 2: pa.int16(), 4: pa.int32(), 8: pa.int64()}
_UNSIGNED = {1: pa.uint8(), 2: pa.uint16(), 4: pa.uint32(), 8: pa.uint64()}


class BlockArrays(NamedTuple):
    """The events of a block.

    Attributes:
        seq: sequence numbers in the stream, rising.
        time: nanoseconds since 1970 UTC.
        context: columns of the fields of Context that are set, by name.
        payload: columns of the fields of the message that are set, by name.
    """

    seq: pa.Array
    time: pa.Array
    context: dict[str, pa.Array]
    payload: dict[str, pa.Array]

    def filter(self, mask: pa.Array) -> BlockArrays:
        """Return the events for which `mask` is true."""
        return BlockArrays(
            self.seq.filter(mask),
            self.time.filter(mask),
            {name: column.filter(mask) for name, column in self.context.items()},
            {name: column.filter(mask) for name, column in self.payload.items()},
        )


class BlockShape(NamedTuple):
    """What blocks have in common that are read as one.

    Attributes:
        type_id: number of their type.
        context: fields of Context that they set, in the order of their columns.
        fields: fields of the message that they set, in the same way.
    """

    type_id: int
    context: tuple[FieldDescriptor, ...]
    fields: tuple[FieldDescriptor, ...]


class ShapeKey(NamedTuple):
    """What tells the shape of a block, from itself alone: type id, and number and type of the fields of each column."""

    type_id: int
    context: tuple[tuple[int, int], ...]
    fields: tuple[tuple[int, int], ...]


def shape_key(block: Any) -> ShapeKey:
    """Return what tells the shape of a parsed `EventBlock`."""
    return ShapeKey(
        block.type_id,
        tuple((column.field, column.type) for column in block.context),
        tuple((column.field, column.type) for column in block.columns),
    )


def block_shape(key: ShapeKey, message: Descriptor, context: Descriptor) -> BlockShape | None:
    """Return the shape of blocks; None where they have a column that the record does not declare so.

    Args:
        key: of these blocks.
        message: descriptor of the message of their events.
        context: descriptor of Context.
    """
    where, fields = _declared(key.context, context), _declared(key.fields, message)
    return None if where is None or fields is None else BlockShape(key.type_id, where, fields)


def _declared(columns: Iterable[tuple[int, int]], message: Descriptor) -> tuple[FieldDescriptor, ...] | None:
    """Return the fields that columns are of; None if the message has one of them not, or with another type."""
    found: list[FieldDescriptor] = []
    for number, kind in columns:
        field = message.fields_by_number.get(number)
        if field is None or field.type != kind or is_repeated(field) or field in found:
            return None
        if field.enum_type is not None and field.enum_type.is_closed:  # a number without a label is no value there
            return None
        found.append(field)
    return tuple(found)


def block_arrays(blocks: Sequence[Any], shape: BlockShape) -> BlockArrays:
    """Return the events of blocks by column.

    Args:
        blocks: `EventBlock`s of one shape.
        shape: that shape.

    Raises:
        CorruptRecordError: one contradicts itself.
    """
    counts = [block.events for block in blocks]
    if any(len(block.payloads) for block in blocks):
        raise CorruptRecordError("a block has payloads beside columns")
    try:
        numbers = [_begun(block.first_seq, block.seq_steps, block.events, signed=False) for block in blocks]
        times = [_begun(block.first_time_unix_nano, block.time_steps, block.events, signed=True) for block in blocks]
        steps = _from_bytes(b"".join(numbers), pa.uint64())
        if pc.any(pc.equal(steps, 0)).as_py():
            raise CorruptRecordError("a block has sequence numbers that do not rise")
        time = _summed(_from_bytes(b"".join(times), pa.int64()), counts)
        if pc.any(pc.less(time, 0)).as_py():
            raise CorruptRecordError("a block has times outside of 63 bits")
        return BlockArrays(
            _summed(steps, counts),
            time.view(pa.uint64()),
            _columns([block.context for block in blocks], shape.context, counts),
            _columns([block.columns for block in blocks], shape.fields, counts),
        )
    except _TO_ARROW as error:
        raise CorruptRecordError(f"a block holds numbers that do not fit their fields: {error}") from None


def _begun(first: int, steps: bytes, count: int, *, signed: bool) -> array[int]:
    """Return the first of some numbers and the steps to the others, as the machine has them in 64 bits."""
    begun = array("Q" if signed is False else "q", [first if signed is False or first < _I64 else first - _U64])
    check_planes(steps, count - 1, "the steps of a block")
    if count > 1:
        begun += unpack_integers(steps, count - 1, signed=signed, size=_WHOLE_BYTES)
    return begun


def _summed(steps: pa.Array, counts: Sequence[int]) -> pa.Array:
    """Return what blocks of steps state: in each the first value, then differences.

    One sum over all, less what it was before each block: exact, as both wrap around at 64 bits.
    """
    sums = pc.cumulative_sum(steps)
    if len(counts) == 1:
        return sums
    ends = pa.array(list(accumulate(counts)), pa.int32())
    before = pa.concat_arrays([pa.array([0], steps.type), sums.take(pc.subtract(ends.slice(0, len(ends) - 1), 1))])
    return pc.subtract(sums, pc.run_end_decode(pa.RunEndEncodedArray.from_arrays(ends, before)))


def _columns(
    columns: Sequence[Sequence[Any]], fields: Sequence[FieldDescriptor], counts: Sequence[int]
) -> dict[str, pa.Array]:
    return {
        field.name: _column(
            [column_values(each[at], count, "a block") for each, count in zip(columns, counts, strict=True)], field
        )
        for at, field in enumerate(fields)
    }


def _column(parts: Sequence[ColumnValues], field: FieldDescriptor) -> pa.Array:
    if field.type == FieldDescriptor.TYPE_STRING:
        return _texts(parts, field)
    if field.type == FieldDescriptor.TYPE_BOOL:
        values = pa.concat_arrays([_bools(part) for part in parts])
    elif field.type in (_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        values = _reals(parts)
    else:
        values = _numbers(parts)
    if field.enum_type is not None:
        return labelled(values.cast(pa.int32()), field.enum_type, zero_is_unset=not field.has_presence)
    values = values.cast(column_type(field))
    return values if field.has_presence else null_where_default(values, field)


def _reals(parts: Sequence[ColumnValues]) -> pa.Array:
    """Return real numbers: single precision if all parts have it, which is cast after."""
    wide = any(part.representation == "doubles" for part in parts)
    pieces = []
    for part in parts:
        size = REAL_BYTES[part.representation]
        data: Any = part.data if part.shared else unpack_reals(part.data, size)
        numbers = real_numbers(data, size)
        if wide and size != DOUBLE_BYTES:
            numbers = array("d", numbers)
        pieces.append(numbers * part.events if part.shared else numbers)
    return _from_bytes(b"".join(pieces), pa.float64() if wide else pa.float32())


def _bools(part: ColumnValues) -> pa.Array:
    if part.shared:
        if part.first not in (0, 1):
            raise CorruptRecordError(f"column {part.field} holds a bool that is neither 0 nor 1")
        return pa.repeat(pa.scalar(bool(part.first)), part.events)
    return pa.Array.from_buffers(pa.bool_(), part.events, [None, pa.py_buffer(part.data)])


def _numbers(parts: Sequence[ColumnValues]) -> pa.Array:
    """Return integers; those of unsigned 64 bits come as their two's complement."""
    if all(part.representation == "int_steps" for part in parts):
        made = _sums(parts)
    elif any(part.representation == "int_steps" for part in parts):
        runs = [
            (stepped, list(run)) for stepped, run in groupby(parts, lambda part: part.representation == "int_steps")
        ]
        made = pa.concat_arrays([_sums(run) if stepped else _stated(run, _WHOLE_BYTES) for stepped, run in runs])
    else:
        size = max((machine_size(part.data, part.events) for part in parts if not part.shared), default=1)
        wide = parts[0].type in _WIDE or any(part.shared for part in parts)
        made = _stated(parts, _WHOLE_BYTES if wide else size)
    return made.view(pa.uint64()) if parts[0].type in _WIDE else made


def _sums(parts: Sequence[ColumnValues]) -> pa.Array:
    """Return the integers of parts with steps, of 64 bits."""
    begun = [_begun(part.first, part.data, part.events, signed=True) for part in parts]
    return _summed(_from_bytes(b"".join(begun), pa.int64()), [part.events for part in parts])


def _stated(parts: Sequence[ColumnValues], size: int) -> pa.Array:
    """Return the integers of parts without steps, of so many bytes."""
    return _from_bytes(b"".join([_plain(part, size) for part in parts]), _SIGNED[size])


def _plain(part: ColumnValues, size: int) -> array[int]:
    """Return the integers of a part without steps."""
    if part.shared:
        return array("q", [part.first]) * part.events
    return unpack_integers(part.data, part.events, size=size)


def _texts(parts: Sequence[ColumnValues], field: FieldDescriptor) -> pa.DictionaryArray:
    places: dict[str, int] = {}
    own = [[places.setdefault(text, len(places)) for text in part.data] for part in parts]
    if len(places) <= _BYTE and all(not part.indices or part.indices.itemsize == 1 for part in parts):
        made = _from_bytes(b"".join(map(_short_places, parts, own)), pa.uint8()).cast(pa.int32())
    else:
        made = pa.concat_arrays(list(map(_places, parts, own)))
    if "" in places and not field.has_presence:
        shown = pa.array([text or None for text in places], pa.string())
        return relabelled(made, shown).cast(TEXT)
    return pa.DictionaryArray.from_arrays(made, pa.array(places, pa.string())).cast(TEXT)


def _short_places(part: ColumnValues, own: Sequence[int]) -> bytes:
    """Return which text each event has, in a byte; `own` is which text each text of the part is."""
    if part.shared:
        return bytes(own) * part.events
    if isinstance(part.indices, array):
        return part.indices.tobytes().translate(bytes(own).ljust(_BYTE, b"\0"))
    return bytes(own)


def _places(part: ColumnValues, own: Sequence[int]) -> pa.Array:
    """Return the same as numbers of any size."""
    if part.shared:
        return pa.repeat(pa.scalar(own[0], pa.int32()), part.events)
    made = pa.array(own, pa.int32())
    if isinstance(part.indices, array):
        made = made.take(_from_bytes(part.indices.tobytes(), _UNSIGNED[part.indices.itemsize]))
    return made


def _from_bytes(raw: bytes, kind: pa.DataType) -> pa.Array:
    return pa.Array.from_buffers(kind, len(raw) // (kind.bit_width // 8), [None, pa.py_buffer(raw)])
