"""Per-step detail back as rows: a StepBlock expands into what an eager emitter would have recorded.

Pure: a parsed block in, rows out, column by column. It reads no file and looks up no type; a
block that contradicts itself or its row's class is refused before the first row.
"""

from __future__ import annotations

import math
import struct
from itertools import chain, compress, cycle, islice, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.schema import CONTEXT_FIELDS, enum_labels, is_repeated
from esper_telemetry.v1 import context_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from google.protobuf.message import Message

_CONTEXT_NUMBERS = {field.name: field.number for field in context_pb2.Context.DESCRIPTOR.fields}
_BITS = tuple(tuple(bool(byte >> bit & 1) for bit in range(8)) for byte in range(256))
_ABSENT = object()
MICROSECOND = 1000
_FLOAT_BYTES, _DOUBLE_BYTES = 4, 8
# Which fields a column of each kind may fill.
COLUMN_KINDS = {
    "flags": (FieldDescriptor.TYPE_BOOL,),
    "indices": (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_ENUM),
    "floats": (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE),
    "doubles": (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE),
}


class BlockRow(NamedTuple):
    """One row of a block.

    Attributes:
        type_name: full name of the row's message.
        time_unix_nano: wall clock of its step.
        seq: sequence number of the block in its stream; all its rows share it.
        context: set context fields.
        payload: set fields of the row, as the `.data` rule has them.
    """

    type_name: str
    time_unix_nano: int
    seq: int
    context: dict[str, Any]
    payload: dict[str, Any]


class _Column(NamedTuple):
    """Values of one field over all rows; `_ABSENT` where it is unset."""

    number: int
    name: str
    values: Iterable[Any]
    gaps: bool


def rows(block: Any) -> int:
    """Return how many rows `block` holds: steps x envs, less those that were no decision."""
    count = int(block.steps * block.envs)
    valid = _valid(block)
    return sum(islice(_flags_of(valid), count)) if valid else count


def _valid(block: Any) -> bytes:
    """Return the bits of the rows that were decisions; empty where all were, and in a record older than the field."""
    return bytes(getattr(block, "valid", b""))


def _flags_of(bits: bytes) -> Iterator[bool]:
    return chain.from_iterable(map(_BITS.__getitem__, bits))


def expand(
    block: Any,
    row_class: type[Message] | None,
    *,
    context: Mapping[str, Any],
    time_unix_nano: int,
    seq: int,
) -> Iterator[BlockRow]:
    """Return the rows of a block: all environments of its first step, then those of the second.

    Args:
        block: a parsed `esper_telemetry.v1.StepBlock`, of generated code or of a record's own descriptors.
        row_class: class of the message called `block.row_type`; None if the record does not declare
            it, and then the block's own labels are taken for its enums.
        context: set context fields of the block's event.
        time_unix_nano: time of the block's event, for blocks without times of their own.
        seq: sequence number of the block's event.

    Raises:
        CorruptRecordError: lengths do not agree, or a column does not fit the row's class.
    """
    count = int(block.steps * block.envs)
    where = f"step block {seq} ({block.steps} steps of {block.envs} environments of {block.row_type or 'no type'})"
    if count and not block.columns:
        raise CorruptRecordError(f"{where} has no column; the record was damaged or written by something else")
    columns = sorted((_column(column, row_class, count, where) for column in block.columns), key=lambda one: one.number)
    times = _times(block, time_unix_nano, where)
    contexts = _contexts(block, context, where)
    every = map(BlockRow, repeat(block.row_type), times, repeat(seq), contexts, _dicts(columns, count))
    valid = _valid(block)
    if not valid:
        return every
    _sized(valid, -(-count // 8), where, "valid")
    return compress(every, _flags_of(valid))


def _dicts(columns: Sequence[_Column], count: int) -> Iterator[dict[str, Any]]:
    names = [column.name for column in columns]
    values = islice(zip(*(column.values for column in columns), strict=False), count)
    if any(column.gaps for column in columns):
        return ({name: value for name, value in zip(names, row, strict=True) if value is not _ABSENT} for row in values)
    return (dict(zip(names, row, strict=True)) for row in values)


def _times(block: Any, event_time: int, where: str) -> Iterator[int]:
    if not block.HasField("first_time_unix_nano"):
        return repeat(event_time)
    offsets = _sized(list(block.time_offsets_us), block.steps, where, "time_offsets_us")
    each_step = (block.first_time_unix_nano + offset * MICROSECOND for offset in offsets)
    return chain.from_iterable(repeat(time, block.envs) for time in each_step)


def _contexts(block: Any, event: Mapping[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """Yield the context of each row, its fields in the order of their numbers."""
    values: dict[str, Iterable[Any]] = {
        name: repeat(value) for name, value in event.items() if name != "episodes_completed"
    }
    if block.HasField("device"):
        values["device"] = repeat(block.device)
    env_ids = list(block.env_ids) or range(block.envs)
    values["env_id"] = cycle(_sized(env_ids, block.envs, where, "env_ids"))
    for one in block.env_context:
        values[_context_name(one, where)] = cycle(_sized(list(one.values), block.envs, where, one.field))
    for one in block.context:
        each_step = _sized(list(one.values), block.steps, where, one.field)
        values[_context_name(one, where)] = chain.from_iterable(repeat(value, block.envs) for value in each_step)
    names = sorted(values, key=lambda name: _CONTEXT_NUMBERS.get(name, 0))
    return (dict(zip(names, row, strict=True)) for row in zip(*(values[name] for name in names), strict=False))


def _context_name(one: Any, where: str) -> str:
    if one.field not in CONTEXT_FIELDS:
        raise CorruptRecordError(f"{where}: {one.field!r} is no field of the context")
    return str(one.field)


def _sized(values: Sequence[Any], size: int, where: str, what: str) -> Sequence[Any]:
    if len(values) != size:
        raise CorruptRecordError(f"{where}: {what} has {len(values)} values; {size} were expected")
    return values


def _column(column: Any, row_class: type[Message] | None, count: int, where: str) -> _Column:
    kinds = [kind for kind in COLUMN_KINDS if getattr(column, kind)]
    if not kinds and not count:
        return _Column(0, column.field, (), gaps=False)
    if len(kinds) != 1:
        raise CorruptRecordError(f"{where}: column {column.field!r} holds {kinds or 'nothing'}; one kind was expected")
    kind = kinds[0]
    field = _field(column.field, kind, row_class, where)
    values = _READ[kind](column, count, where)
    if kind == "indices":
        return _choices(column, field, values)
    if field is not None and kind == "doubles" and field.type == FieldDescriptor.TYPE_FLOAT:
        values = struct.unpack(f"<{count}f", struct.pack(f"<{count}f", *values))
    number = field.number if field is not None else 0
    if field is not None and not field.has_presence:  # then zero and unset are one, as in any proto3 message
        return _Column(number, column.field, [_ABSENT if _is_default(value) else value for value in values], gaps=True)
    return _Column(number, column.field, values, gaps=False)


def _is_default(value: Any) -> bool:
    return value == 0 and math.copysign(1.0, value) > 0


def _field(name: str, kind: str, row_class: type[Message] | None, where: str) -> FieldDescriptor | None:
    if row_class is None:
        return None
    found: Any = row_class.DESCRIPTOR.fields_by_name.get(name)
    if found is None or found.type not in COLUMN_KINDS[kind] or is_repeated(found):
        raise CorruptRecordError(f"{where}: {row_class.DESCRIPTOR.full_name} has no field {name!r} that takes {kind}")
    field: FieldDescriptor = found
    return field


def _choices(column: Any, field: FieldDescriptor | None, indices: Sequence[int]) -> _Column:
    """Return the option of each index; one beyond the options is an action out of range."""
    shown: list[Any] = list(column.labels)
    if field is not None and field.enum_type is not None:
        labels = enum_labels(field.enum_type)
        shown = [labels.get(number, number) for number in column.numbers]
        if not field.has_presence:
            shown = [_ABSENT if number == 0 else one for number, one in zip(column.numbers, shown, strict=True)]
    elif field is not None and not field.has_presence:
        shown = [one or _ABSENT for one in shown]
    options = dict(enumerate(shown))
    values = [options.get(index, _ABSENT) for index in indices]
    return _Column(field.number if field is not None else 0, column.field, values, gaps=True)


def _read_flags(column: Any, count: int, where: str) -> Sequence[Any]:
    _sized(column.flags, -(-count // 8), where, f"column {column.field!r}")
    return list(islice(chain.from_iterable(map(_BITS.__getitem__, column.flags)), count))


def _read_indices(column: Any, count: int, where: str) -> Sequence[Any]:
    if len(column.indices) == 2 * count:
        return struct.unpack(f"<{count}H", column.indices)
    indices: bytes = column.indices
    return _sized(indices, count, where, f"column {column.field!r}")


def _read_floats(column: Any, count: int, where: str) -> Sequence[Any]:
    _sized(column.floats, _FLOAT_BYTES * count, where, f"column {column.field!r}")
    return struct.unpack(f"<{count}f", column.floats)


def _read_doubles(column: Any, count: int, where: str) -> Sequence[Any]:
    _sized(column.doubles, _DOUBLE_BYTES * count, where, f"column {column.field!r}")
    return struct.unpack(f"<{count}d", column.doubles)


_READ = {"flags": _read_flags, "indices": _read_indices, "floats": _read_floats, "doubles": _read_doubles}
