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

from esper_telemetry.schema.dictionary_column import MOST_VALUES, DictionaryColumn
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
_SAMPLE = 64
_SIGNED_CODE = "q"

REAL = frozenset({FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT})
UNSIGNED_WIDE = frozenset({FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_FIXED64})
WHOLE = UNSIGNED_WIDE | {
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
COLUMN_TYPES = REAL | WHOLE | {FieldDescriptor.TYPE_BOOL, FieldDescriptor.TYPE_STRING}
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
    type_id: int,
    seqs: Sequence[int],
    times: Sequence[int],
    context: Iterable[bytes],
    columns: Iterable[bytes],
    *,
    since: int = 0,
) -> bytes:
    """Return a block of events as an element of RecordFile, its tag included.

    Args:
        type_id: id in the type table.
        seqs: sequence number of each event, rising.
        times: time of each, nanoseconds since 1970 UTC.
        context: `encode_column` of each field of Context that is set.
        columns: the same of each field of the message that is set.
        since: moment that the times are reckoned from, nanoseconds since 1970 UTC.
    """
    return _element(type_id, seqs, _times(times, since), [(_CONTEXT_TAG, context), (_COLUMN_TAG, columns)])


def encode_payload_block(
    type_id: int,
    seqs: Sequence[int],
    times: Sequence[int],
    context: Iterable[bytes],
    payloads: Sequence[bytes],
    *,
    since: int = 0,
) -> bytes:
    """Return a block of events whose messages are serialized; arguments as of `encode_block`."""
    return _element(type_id, seqs, _times(times, since), [(_CONTEXT_TAG, context), (_PAYLOAD_TAG, payloads)])


def _times(times: Sequence[int], since: int) -> bytes:
    first = _FIRST_TIME_TAG + pack_time(since + times[0])
    return first if len(times) == 1 else first + _packed(_TIME_TAG, pack_integers(steps_of(times)))


def _element(type_id: int, seqs: Sequence[int], times: bytes, parts: Sequence[tuple[bytes, Iterable[bytes]]]) -> bytes:
    pieces = [_TYPE_ID_TAG, varint(type_id), _EVENTS_TAG, varint(len(seqs)), _FIRST_SEQ_TAG, varint(seqs[0])]
    pieces += (_packed(_SEQ_TAG, _seq_steps(seqs)) if len(seqs) > 1 else b"", times)
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
    try:
        return bytes(map(sub, seqs[1:], seqs))
    except ValueError:  # one takes more than a byte
        steps = steps_of(seqs)
        return pack_unsigned(steps, max(steps))


def encode_column(field: Field, values: Sequence[Any]) -> bytes:
    """Return a column of a block: a serialized `Column`.

    Args:
        field: what it is of; one of COLUMN_TYPES.
        values: its value in each event, all of a kind that the field takes: numbers in its range, the numbers of an
            enum, texts that are UTF-8. Ints and bools may stand for numbers. Numbers may be an array: "d" of
            reals, as little-endian machines have them, "q" or "Q" of what is whole.
    """
    head = b"".join((_FIELD_TAG, varint(field.number), _FIELD_TYPE_TAG, varint(field.type)))
    if field.type in REAL:
        return head + _reals(field.type, values)
    if field.type == FieldDescriptor.TYPE_STRING:
        return head + _texts(values)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return head + _flags(values)
    return head + _integers(values, wide=field.type in UNSIGNED_WIDE)


def _packed(tag: bytes, data: bytes) -> bytes:
    return b"".join((tag, varint(len(data)), data))


def _reals(kind: int, values: Sequence[float]) -> bytes:
    if kind == FieldDescriptor.TYPE_FLOAT or _are_single(values):
        return _packed(_FLOATS_TAG, _one_of(struct.pack(f"<{len(values)}f", *values), FLOAT_BYTES))
    doubles = values.tobytes() if isinstance(values, array) else struct.pack(f"<{len(values)}d", *values)
    return _packed(_DOUBLES_TAG, _one_of(doubles, DOUBLE_BYTES))


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
    return one if len(data) == width or _repeats(data, width) else pack_reals(data, width)


def _repeats(data: bytes, width: int) -> bool:
    one = data[:width]
    return data[width : 2 * width] == one and data == one * (len(data) // width)


def _integers(values: Sequence[int], *, wide: bool) -> bytes:
    if isinstance(values, DictionaryColumn):
        return _dictionary_of_integers(values, wide=wide)
    if isinstance(values, array):
        return _array_of_integers(values)
    if values.count(values[0]) == len(values):
        return _first(_signed([values[0]])[0])
    if wide and max(values) >= _I64_LIMIT:
        values = _signed(values)
    return (_smaller(values) and _int_steps(values)) or _packed(_INTS_TAG, pack_integers(values))


def _array_of_integers(values: array[int]) -> bytes:
    data = values.tobytes()
    if len(values) == 1 or _repeats(data, values.itemsize):
        return _first(_signed([values[0]])[0])
    signed = values if values.typecode == _SIGNED_CODE else array(_SIGNED_CODE, data)
    return (_smaller(signed) and _int_steps(signed.tolist())) or _packed(_INTS_TAG, pack_integers(signed))


def _dictionary_of_integers(column: DictionaryColumn, *, wide: bool) -> bytes:
    values, indices = _signed(column.values) if wide else column.values, column.indices
    signed = DictionaryColumn(values, indices)
    steps = _int_steps(list(signed)) if _smaller(signed) else b""
    if steps:
        return steps
    planes = pack_integers(values)
    each = [planes[start : start + len(values)] for start in range(0, len(planes), len(values))]
    return _packed(_INTS_TAG, b"".join([indices.translate(plane.ljust(MOST_VALUES, b"\0")) for plane in each]))


def _int_steps(values: Sequence[int]) -> bytes:
    """Return signed numbers as steps; nothing where two are further apart than a step can be."""
    try:
        return _first(values[0]) + _packed(_INT_STEPS_TAG, pack_integers(steps_of(values)))
    except struct.error:
        return b""


def _first(value: int) -> bytes:
    """Return the one value, or the one that steps begin at: a sint64."""
    return _FIRST_TAG + varint(value << 1 if value >= 0 else (-value << 1) - 1)


def _smaller(values: Sequence[int]) -> bool:
    """Tell whether steps are likely to compress better: fewer kinds of them, or smaller ones.

    The first values speak for all: what is read wrong in them costs a few bytes, and looking at all costs more time
    than packing them.
    """
    sample = values[:_SAMPLE]
    steps = steps_of(sample)
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
    if isinstance(values, DictionaryColumn):
        distinct, indices = dict.fromkeys(values.values), values.indices
    else:
        distinct, indices = dict.fromkeys(values), b""
    texts = record_pb2.Column(texts=distinct).SerializeToString()
    if len(distinct) in (1, len(values)):
        return texts
    if not indices:
        places = {text: place for place, text in enumerate(distinct)}
        of_each = map(places.__getitem__, values)
        small = len(distinct) <= MOST_VALUES
        indices = bytes(of_each) if small else pack_unsigned(list(of_each), len(distinct) - 1)
    return texts + _packed(_INDICES_TAG, indices)


def steps_of(values: Sequence[int]) -> list[int]:
    """Return the difference of each of `values` but the first to the one before."""
    return list(map(sub, values[1:], values))
