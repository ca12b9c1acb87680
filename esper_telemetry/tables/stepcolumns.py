"""A block of steps to the columns of its rows' table: the bytes of its columns become Arrow's, without a row between.

The rows are those of `decode.steps`: all environments of the first step, then those of the second, less the rows that
were no decision. A block that contradicts itself or its row's class is refused whole.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from esper_telemetry.decode.steps import COLUMN_KINDS, MICROSECOND
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.schema import CONTEXT_FIELDS, enum_labels, is_repeated
from esper_telemetry.tables.columntypes import LABEL, TEXT, column_type
from esper_telemetry.tables.conversion import relabelled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.descriptor import Descriptor, FieldDescriptor


class StepColumns(NamedTuple):
    """The rows of a block.

    Attributes:
        rows: how many.
        time: nanoseconds since 1970 UTC, of each row.
        context: columns of the fields of Context that are known, by name.
        payload: columns of the fields that the block has, by name.
    """

    rows: int
    time: pa.Array
    context: dict[str, pa.Array]
    payload: dict[str, pa.Array]

    def filter(self, mask: pa.Array) -> StepColumns:
        """Return the rows for which `mask` is true."""
        return StepColumns(
            pc.sum(mask, min_count=0).as_py() or 0,
            self.time.filter(mask),
            {name: column.filter(mask) for name, column in self.context.items()},
            {name: column.filter(mask) for name, column in self.payload.items()},
        )


def step_columns(
    block: Any, row: Descriptor | None, context: Descriptor, *, bound: Mapping[str, Any], time_unix_nano: int, seq: int
) -> StepColumns:
    """Return the rows of a block by column.

    Args:
        block: a parsed `esper_telemetry.v1.StepBlock`.
        row: descriptor of its rows' message; None where the record does not declare it.
        context: descriptor of Context.
        bound: set context fields of the block's event.
        time_unix_nano: time of the block's event, for blocks without times of their own.
        seq: number of the block's event.

    Raises:
        CorruptRecordError: lengths do not agree, or a column does not fit the row's class.
    """
    count = int(block.steps * block.envs)
    where = f"step block {seq} ({block.steps} steps of {block.envs} environments of {block.row_type or 'no type'})"
    if count and not block.columns:
        raise CorruptRecordError(f"{where} has no column; the record was damaged or written by something else")
    shape = _Shape(block.steps, block.envs, where)
    payload = {column.field: _column(column, row, shape) for column in block.columns}
    times, contexts = _times(block, time_unix_nano, shape), _contexts(block, context, bound, shape)
    found = StepColumns(count, times, contexts, payload)
    valid = bytes(getattr(block, "valid", b""))
    return found.filter(_bits(valid, shape, "valid")) if valid else found


class _Shape(NamedTuple):
    """Steps, environments, and the words that a refusal begins with."""

    steps: int
    envs: int
    where: str

    @property
    def rows(self) -> int:
        return self.steps * self.envs

    def each_step(self, values: Sequence[Any], kind: pa.DataType, what: str) -> pa.Array:
        """Return a value of each step, for each of its environments."""
        return pa.array(self.sized(values, self.steps, what), kind).take(_step_of_row(self.steps, self.envs))

    def each_env(self, values: Sequence[Any], kind: pa.DataType, what: str) -> pa.Array:
        """Return a value of each environment, in each step."""
        return pa.array(self.sized(values, self.envs, what), kind).take(_env_of_row(self.steps, self.envs))

    def sized(self, values: Sequence[Any], size: int, what: str) -> Sequence[Any]:
        """Return values of which there must be so many."""
        if len(values) != size:
            raise CorruptRecordError(f"{self.where}: {what} has {len(values)} values; {size} were expected")
        return values


@lru_cache(maxsize=32)  # the blocks of a run have one shape, but for the last
def _step_of_row(steps: int, envs: int) -> pa.Array:
    return pa.array([step for step in range(steps) for _ in range(envs)], pa.int32())


@lru_cache(maxsize=32)
def _env_of_row(steps: int, envs: int) -> pa.Array:
    return pa.array(list(range(envs)) * steps, pa.int32())


def _times(block: Any, event_time: int, shape: _Shape) -> pa.Array:
    if not block.HasField("first_time_unix_nano"):
        return pa.repeat(pa.scalar(event_time, pa.uint64()), shape.rows)
    times = [block.first_time_unix_nano + offset * MICROSECOND for offset in block.time_offsets_us]
    try:
        return shape.each_step(times, pa.uint64(), "time_offsets_us")
    except (OverflowError, pa.ArrowInvalid):
        raise CorruptRecordError(f"{shape.where}: its times lie before 1970") from None


def _contexts(block: Any, context: Descriptor, bound: Mapping[str, Any], shape: _Shape) -> dict[str, pa.Array]:
    fields = context.fields_by_name
    kinds = {name: column_type(field) for name, field in fields.items()}
    found = {
        name: pa.repeat(pa.scalar(value), shape.rows).cast(kinds[name])
        for name, value in bound.items()
        if name != "episodes_completed" and name in kinds
    }
    if block.HasField("device"):
        found["device"] = pa.repeat(pa.scalar(block.device), shape.rows).cast(kinds["device"])
    try:
        found["env_id"] = shape.each_env(list(block.env_ids) or range(shape.envs), kinds["env_id"], "env_ids")
        for one in block.env_context:
            name = _context_name(one, shape)
            found[name] = shape.each_env(list(one.values), kinds[name], one.field)
        for one in block.context:
            name = _context_name(one, shape)
            found[name] = shape.each_step(list(one.values), kinds[name], one.field)
    except (OverflowError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise CorruptRecordError(f"{shape.where}: its context does not fit its type: {error}") from None
    return found


def _context_name(one: Any, shape: _Shape) -> str:
    if one.field not in CONTEXT_FIELDS:
        raise CorruptRecordError(f"{shape.where}: {one.field!r} is no field of the context")
    return str(one.field)


def _column(column: Any, row: Descriptor | None, shape: _Shape) -> pa.Array:
    kinds = [kind for kind in COLUMN_KINDS if getattr(column, kind)]
    if len(kinds) != 1 and shape.rows:
        raise CorruptRecordError(
            f"{shape.where}: column {column.field!r} holds {kinds or 'nothing'}; one kind was expected"
        )
    kind = kinds[0] if kinds else "flags"
    field = _field(column.field, kind, row, shape)
    what = f"column {column.field!r}"
    if kind == "indices":
        return _choices(column, field, shape)
    if kind == "flags":
        values = _bits(column.flags, shape, what)
        unset = pc.invert(values)
    else:
        wide = kind == "doubles"
        raw = shape.sized(getattr(column, kind), shape.rows * (8 if wide else 4), what)
        values = _from_bytes(raw, pa.float64() if wide else pa.float32(), shape.rows)
        unset = pc.equal(values.view(pa.int64() if wide else pa.int32()), 0)
    if field is None:
        return values
    if not field.has_presence:  # then zero and unset are one, as in any proto3 message
        values = pc.if_else(unset, pa.scalar(None, values.type), values)
    return values.cast(column_type(field), safe=False)


def _field(name: str, kind: str, row: Descriptor | None, shape: _Shape) -> FieldDescriptor | None:
    if row is None:
        return None
    found = row.fields_by_name.get(name)
    if found is None or found.type not in COLUMN_KINDS[kind] or is_repeated(found):
        raise CorruptRecordError(f"{shape.where}: {row.full_name} has no field {name!r} that takes {kind}")
    return found


def _bits(flags: bytes, shape: _Shape, what: str) -> pa.Array:
    """Return bits as bools: a block has them in the order that Arrow has."""
    shape.sized(flags, -(-shape.rows // 8), what)
    return _from_bytes(flags, pa.bool_(), shape.rows)


def _from_bytes(raw: Any, kind: pa.DataType, count: int) -> pa.Array:
    return pa.Array.from_buffers(kind, count, [None, pa.py_buffer(bytes(raw))])


def _choices(column: Any, field: FieldDescriptor | None, shape: _Shape) -> pa.Array:
    """Return the option of each index; one beyond the options is an action out of range, and NULL."""
    if len(column.indices) == 2 * shape.rows:
        indices = _from_bytes(column.indices, pa.uint16(), shape.rows)
    else:
        shape.sized(column.indices, shape.rows, f"column {column.field!r}")
        indices = _from_bytes(column.indices, pa.uint8(), shape.rows)
    shown: list[str | None] = list(column.labels)
    wanted = TEXT
    if field is not None and field.enum_type is not None:
        wanted = LABEL
        labels = enum_labels(field.enum_type)
        shown = [
            None if number == 0 and not field.has_presence else labels.get(number, str(number))
            for number in column.numbers
        ]
    elif field is not None and not field.has_presence:
        shown = [label or None for label in shown]
    known = indices.cast(pa.int32())
    known = pc.if_else(pc.less(known, len(shown)), known, pa.scalar(None, pa.int32()))
    return relabelled(known, pa.array(shown, pa.string())).cast(wanted)
