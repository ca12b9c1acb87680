"""Events of one type by column: how an `EventBlock` is written. `recordfile/block_columns.py` reads them.

What events have in common is written once, what changes lies side by side: a tenth of the time that messages take, and
less than half of their bytes. Each column takes the representation that is smallest after compression and gives back
exactly what was put in: the bits of a double, the sign of a zero, the order of a text.
"""

from __future__ import annotations

import struct
from array import array
from operator import sub
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor

from esper_telemetry.schema.envelope import pack_time, varint
from esper_telemetry.schema.planes import DOUBLE_BYTES, FLOAT_BYTES, pack_integers, pack_reals, pack_unsigned
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# A group of fewer events is smaller as events.
FEWEST_EVENTS = 3
# Values of a frame in all its columns, constant ones counted for each event: what a reader is willing to make of a
# frame, which may state in a few bytes that thousands of events share a value. As an event a value takes two bytes.
MAX_CELLS = 1 << 21

BLOCK_TAG = b"\x1a"  # RecordFile.block
_TYPE_ID_TAG, _EVENTS_TAG, _FIRST_SEQ_TAG, _SEQ_TAG = b"\x08", b"\x10", b"\x18", b"\x22"  # fields of EventBlock
_FIRST_TIME_TAG, _TIME_TAG = b"\x29", b"\x32"
_CONTEXT_TAG, _COLUMN_TAG, _PAYLOAD_TAG = b"\x3a", b"\x42", b"\x4a"
_FIELD_TAG, _FIELD_TYPE_TAG, _DOUBLES_TAG, _FLOATS_TAG = b"\x08", b"\x10", b"\x1a", b"\x22"  # fields of Column
_FIRST_TAG, _INTS_TAG, _INT_STEPS_TAG, _INDICES_TAG, _FLAGS_TAG = b"\x28", b"\x32", b"\x3a", b"\x4a", b"\x52"

_I64_LIMIT, _U64 = 1 << 63, 1 << 64
_SAMPLE = 256

_REAL = frozenset({FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT})
_UNSIGNED_WIDE = frozenset({FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_FIXED64})
_WHOLE = _UNSIGNED_WIDE | {
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_SINT32,
    FieldDescriptor.TYPE_SINT64,
    FieldDescriptor.TYPE_FIXED32,
    FieldDescriptor.TYPE_SFIXED32,
    FieldDescriptor.TYPE_SFIXED64,
    FieldDescriptor.TYPE_ENUM,
}
COLUMN_TYPES = _REAL | _WHOLE | {FieldDescriptor.TYPE_BOOL, FieldDescriptor.TYPE_STRING}
"""Types of fields that a column holds; events with others set travel as payloads."""


class Field(NamedTuple):
    """A field that a column is of.

    Attributes:
        number: its number in its message.
        type: FieldDescriptor.TYPE_*, one of COLUMN_TYPES.
    """

    number: int
    type: int


def encode_block(
    type_id: int, seqs: Sequence[int], times: Sequence[int], context: Iterable[bytes], columns: Iterable[bytes]
) -> bytes:
    """Return a block of events as an element of RecordFile, its tag included.

    Args:
        type_id: id in the type table.
        seqs: sequence number of each event, rising.
        times: time of each, nanoseconds since 1970 UTC.
        context: `encode_column` of each field of Context that is set.
        columns: the same of each field of the message that is set.
    """
    return _element(type_id, seqs, times, [(_CONTEXT_TAG, context), (_COLUMN_TAG, columns)])


def encode_payload_block(
    type_id: int, seqs: Sequence[int], times: Sequence[int], context: Iterable[bytes], payloads: Sequence[bytes]
) -> bytes:
    """Return a block of events whose messages are serialized; arguments as of `encode_block`."""
    return _element(type_id, seqs, times, [(_CONTEXT_TAG, context), (_PAYLOAD_TAG, payloads)])


def _element(
    type_id: int, seqs: Sequence[int], times: Sequence[int], parts: Sequence[tuple[bytes, Iterable[bytes]]]
) -> bytes:
    head = (_TYPE_ID_TAG, varint(type_id), _EVENTS_TAG, varint(len(seqs)))
    pieces = [*head, _FIRST_SEQ_TAG, varint(seqs[0]), _FIRST_TIME_TAG, pack_time(times[0])]
    if len(seqs) > 1:
        pieces.insert(len(head) + 2, _packed(_SEQ_TAG, _seq_steps(seqs)))
        steps = steps_of(times)[1:]
        pieces.append(_packed(_TIME_TAG, pack_integers(steps, min(steps), max(steps))))
    for tag, bodies in parts:
        for body in bodies:
            pieces += (tag, varint(len(body)), body)
    block = b"".join(pieces)
    return b"".join((BLOCK_TAG, varint(len(block)), block))


def _seq_steps(seqs: Sequence[int]) -> bytes:
    """Return the distances as planes: of numbers that are neighbours without a look at each."""
    first, last = seqs[0], seqs[-1]
    if last - first == len(seqs) - 1:  # they rise, so that each is the one after the last
        return b"\1" * (last - first)
    steps = steps_of(seqs)[1:]
    return pack_unsigned(steps, max(steps))


def encode_column(field: Field, values: Sequence[Any]) -> bytes:
    """Return a column of a block: a serialized `Column`.

    Args:
        field: what it is of; one of COLUMN_TYPES.
        values: its value in each event, all of a kind that the field takes: numbers in its range, the numbers of an
            enum, texts that are UTF-8. Ints and bools may stand for numbers.
    """
    head = b"".join((_FIELD_TAG, varint(field.number), _FIELD_TYPE_TAG, varint(field.type)))
    if field.type in _REAL:
        return head + _reals(field.type, values)
    if field.type == FieldDescriptor.TYPE_STRING:
        return head + _texts(values)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return head + _flags(values)
    return head + _integers(values, wide=field.type in _UNSIGNED_WIDE)


def _packed(tag: bytes, data: bytes) -> bytes:
    return b"".join((tag, varint(len(data)), data))


def _reals(kind: int, values: Sequence[float]) -> bytes:
    if kind == FieldDescriptor.TYPE_FLOAT or _are_single(values):
        return _packed(_FLOATS_TAG, _one_of(struct.pack(f"<{len(values)}f", *values), FLOAT_BYTES))
    return _packed(_DOUBLES_TAG, _one_of(struct.pack(f"<{len(values)}d", *values), DOUBLE_BYTES))


def _are_single(values: Sequence[float]) -> bool:
    """Tell whether single precision holds doubles exactly. The first one tells nearly always, for the price of one."""
    return _is_single(values[:1]) and _is_single(values)


def _is_single(values: Sequence[float]) -> bool:
    # From bytes: zeros of both signs are equal, and no NaN equals another.
    doubles = array("d", values)
    return array("d", array("f", doubles)).tobytes() == doubles.tobytes()


_DIGITS = bytes.maketrans(b"\0\1", b"01")


def _one_of(data: bytes, width: int) -> bytes:
    """Return the one value that `data` repeats, or all of them in the order that compresses."""
    one = data[:width]
    alike = data[width : 2 * width] == one and data == one * (len(data) // width)
    return one if alike or len(data) == width else pack_reals(data, width)


def _integers(values: Sequence[int], *, wide: bool) -> bytes:
    least, most = min(values), max(values)
    if least == most:
        return _first(_signed([least])[0])
    signed = _signed(values) if wide else values
    if wide and most >= _I64_LIMIT:
        least, most = min(signed), max(signed)
    # Two values that are further apart have a difference that no step can hold.
    if most - least < _I64_LIMIT and _smaller(signed):
        steps = steps_of(signed)[1:]
        return _first(signed[0]) + _packed(_INT_STEPS_TAG, pack_integers(steps, min(steps), max(steps)))
    return _packed(_INTS_TAG, pack_integers(signed, least, most))


def _first(value: int) -> bytes:
    """Return the one value, or the one that steps begin at: a sint64."""
    return _FIRST_TAG + varint(value << 1 if value >= 0 else (-value << 1) - 1)


def _smaller(values: Sequence[int]) -> bool:
    """Tell whether steps are likely to compress better: fewer kinds of them, or smaller ones.

    The first values speak for all: what is read wrong in them costs a few bytes, and looking at all costs more time
    than packing them.
    """
    sample = values[:_SAMPLE]
    steps = steps_of(sample)[1:]
    kinds, others = len(set(steps)), len(set(sample))
    if kinds != others:
        return kinds < others
    return max(steps) - min(steps) < max(sample) - min(sample)


def _signed(values: Sequence[int]) -> Sequence[int]:
    """Return 64-bit numbers as two's complement."""
    return [value - _U64 if value >= _I64_LIMIT else value for value in values]


def _flags(values: Sequence[Any]) -> bytes:
    truths = list(map(bool, values))
    if truths.count(truths[0]) == len(truths):
        return _first(int(truths[0]))
    digits = bytes(reversed(truths)).translate(_DIGITS)
    return _packed(_FLAGS_TAG, int(digits, 2).to_bytes(-(-len(truths) // 8), "little"))


def _texts(values: Sequence[str]) -> bytes:
    distinct = dict.fromkeys(values)
    if len(distinct) in (1, len(values)):
        return record_pb2.Column(texts=distinct).SerializeToString()
    places = {text: place for place, text in enumerate(distinct)}
    indices = pack_unsigned(list(map(places.__getitem__, values)), len(distinct) - 1)
    return record_pb2.Column(texts=distinct).SerializeToString() + _packed(_INDICES_TAG, indices)


def steps_of(values: Sequence[int]) -> list[int]:
    """Return the first of `values`, then the difference of each to the one before."""
    return [values[0], *map(sub, values[1:], values)]
