"""A block of events to the columns of its table: what lies there by column becomes Arrow's, without a value between.

Bytes of real numbers and bits are taken as they are, texts as the dictionary that they already are, and what all events
share is said once. Only integers pass through Python, for protobuf hands them out so (100 ns each). A block is
refused whole: with the checks of `recordfile.block_columns`, done here on arrays.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.descriptor import FieldDescriptor

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.block_columns import column_values
from esper_telemetry.schema import is_repeated
from esper_telemetry.schema.event_block import MAX_CELLS
from esper_telemetry.tables.columntypes import TEXT, column_type
from esper_telemetry.tables.conversion import labelled, null_where_default, relabelled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.descriptor import Descriptor

    from esper_telemetry.recordfile.block_columns import ColumnValues

# With fewer events a block costs more as arrays than its events do one by one.
FEW_EVENTS = 100
_WIDE = frozenset({FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_FIXED64})
_TO_ARROW = (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError)


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


def is_direct(block: Any, message: Descriptor | None, context: Descriptor) -> bool:
    """Tell whether a parsed block is worth being read as arrays, and has only columns that its types declare.

    Args:
        block: an `EventBlock`.
        message: descriptor of the message of its events; None where the record does not declare it.
        context: descriptor of Context.
    """
    return (
        len(block.seq_steps) >= FEW_EVENTS
        and message is not None
        and not len(block.payloads)
        and _declared(block.columns, message)
        and _declared(block.context, context)
    )


def _declared(columns: Iterable[Any], message: Descriptor) -> bool:
    """Tell whether a message has the fields that columns are of, with their types."""
    fields = message.fields_by_number
    found = [(fields.get(column.field), column.type) for column in columns]
    return all(
        field is not None
        and field.type == kind
        and not is_repeated(field)
        and (field.enum_type is None or not field.enum_type.is_closed)  # else a number without a label is no value
        for field, kind in found
    )


def block_arrays(block: Any, message: Descriptor, context: Descriptor) -> BlockArrays:
    """Return the events of a block by column.

    Args:
        block: an `EventBlock` for which `is_direct` is true, its doubles and floats declared as bytes.
        message: descriptor of the message of its events.
        context: descriptor of Context.

    Raises:
        CorruptRecordError: it contradicts itself, or is over a limit.
    """
    events = len(block.seq_steps)
    where = f"a block of {events:,} events from sequence number {block.seq_steps[0] if events else 0:,}"
    if events != len(block.time_steps):
        raise CorruptRecordError(f"{where} has {len(block.time_steps):,} times; one for each event was expected")
    if events * (len(block.context) + len(block.columns)) > MAX_CELLS:
        raise CorruptRecordError(f"{where} states over {MAX_CELLS:,} values, the limit of a frame")
    try:
        steps = _from_bytes(array("Q", block.seq_steps[:]), pa.uint64(), events)
        if not pc.all(pc.greater(steps, 0)).as_py():
            raise CorruptRecordError(f"{where} has sequence numbers that do not rise")
        seq = pc.cumulative_sum_checked(steps)
        time = _from_bytes(array("q", block.time_steps[:]), pa.int64(), events)
        time = pc.cumulative_sum_checked(time).cast(pa.uint64())
        return BlockArrays(
            seq, time, _columns(block.context, context, events, where), _columns(block.columns, message, events, where)
        )
    except _TO_ARROW as error:
        raise CorruptRecordError(f"{where} holds numbers that do not fit their fields: {error}") from None


def _columns(columns: Iterable[Any], message: Descriptor, events: int, where: str) -> dict[str, pa.Array]:
    fields: Mapping[int, FieldDescriptor] = message.fields_by_number
    found: dict[str, pa.Array] = {}
    for column in columns:
        field = fields[column.field]
        if field.name in found:
            raise CorruptRecordError(f"{where} has two columns of field {column.field}")
        found[field.name] = _column(column_values(column, events, where), field)
    return found


def _column(column: ColumnValues, field: FieldDescriptor) -> pa.Array:
    count = 1 if column.shared else column.events
    if column.representation == "texts":
        made = _texts(column, field)
    elif field.enum_type is not None:
        made = labelled(_numbers(column, count).cast(pa.int32()), field.enum_type, zero_is_unset=not field.has_presence)
    else:
        values = _values(column, count).cast(column_type(field))
        made = values if field.has_presence else null_where_default(values, field)
    if not column.shared:
        return made
    if pa.types.is_dictionary(made.type):
        return pa.DictionaryArray.from_arrays(_repeated(made.indices, column.events), made.dictionary)
    return _repeated(made, column.events)


def _repeated(one: pa.Array, count: int) -> pa.Array:
    return pa.repeat(one[0], count)


def _values(column: ColumnValues, count: int) -> pa.Array:
    kind = column.representation
    if kind in ("doubles", "floats"):
        return _from_bytes(column.data, pa.float64() if kind == "doubles" else pa.float32(), count)
    if kind == "flags":
        return _from_bytes(column.data, pa.bool_(), count)
    return _numbers(column, count)


def _numbers(column: ColumnValues, count: int) -> pa.Array:
    """Return integers; those of unsigned 64 bits come as their two's complement."""
    numbers = _from_bytes(array("q", column.data[:]), pa.int64(), count)
    if column.representation == "int_steps":
        numbers = pc.cumulative_sum_checked(numbers)
    if column.type == FieldDescriptor.TYPE_BOOL and pc.any(pc.greater(numbers.view(pa.uint64()), 1)).as_py():
        raise CorruptRecordError(f"column {column.field} holds a bool that is neither 0 nor 1")
    return numbers.view(pa.uint64()) if column.type in _WIDE else numbers


def _texts(column: ColumnValues, field: FieldDescriptor) -> pa.DictionaryArray:
    texts = pa.array(column.data[:], pa.string())
    if len(column.indices):
        indices = pa.array(column.indices[:], pa.int32())
    else:
        indices = pa.array(range(len(texts)), pa.int32())
    if not field.has_presence and "" in column.data:
        texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
    # Nothing but the writer's word states that the texts are distinct.
    return relabelled(indices, texts).cast(TEXT)


def _from_bytes(raw: Any, kind: pa.DataType, count: int) -> pa.Array:
    return pa.Array.from_buffers(kind, count, [None, pa.py_buffer(raw)])
