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
from esper_telemetry.schema.envelope import encode_varint, varint
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# A group of fewer events is smaller as events.
FEWEST_EVENTS = 3
# Values of a frame in all its columns, constant ones counted for each event: what a reader is willing to make of a
# frame, which may state in a few bytes that thousands of events share a value. As an event a value takes two bytes.
MAX_CELLS = 1 << 21

BLOCK_TAG = b"\x1a"  # RecordFile.block
_TYPE_ID_TAG, _SEQ_TAG, _TIME_TAG = b"\x08", b"\x12", b"\x1a"  # fields of EventBlock
_CONTEXT_TAG, _COLUMN_TAG, _PAYLOAD_TAG = b"\x22", b"\x2a", b"\x32"
_FIELD_TAG, _FIELD_TYPE_TAG, _DOUBLES_TAG, _FLOATS_TAG = b"\x08", b"\x10", b"\x1a", b"\x22"  # fields of Column
_INTS_TAG, _INT_STEPS_TAG, _INDICES_TAG, _FLAGS_TAG = b"\x2a", b"\x32", b"\x42", b"\x4a"

_I64_LIMIT, _U64 = 1 << 63, 1 << 64
_SIGN = 63  # bit of an int64
_ONE_BYTE, _SMALL = 1 << 7, 1 << 6  # limits of what takes one byte as a varint, without a sign and with one
_ZIGZAG = bytes((number << 1 ^ -(number >> 7)) & 0xFF for number in range(256))  # of a byte that has a sign
_NOT_ASCII = b"\x80"
_SAMPLE = 64
_DOUBLE_BYTES, _FLOAT_BYTES = 8, 4

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
    return _element(type_id, seqs, _time_steps(times, since), [(_CONTEXT_TAG, context), (_COLUMN_TAG, columns)])


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
    return _element(type_id, seqs, _time_steps(times, since), [(_CONTEXT_TAG, context), (_PAYLOAD_TAG, payloads)])


def _time_steps(times: Sequence[int], since: int) -> bytes:
    steps = steps_of(times)
    steps[0] += since
    return record_pb2.EventBlock(time_steps=steps).SerializeToString()


def _element(
    type_id: int, seqs: Sequence[int], time_steps: bytes, parts: Sequence[tuple[bytes, Iterable[bytes]]]
) -> bytes:
    pieces = [_TYPE_ID_TAG, varint(type_id), _seq_steps(seqs), time_steps]
    for tag, bodies in parts:
        for body in bodies:
            pieces += (tag, varint(len(body)), body)
    block = b"".join(pieces)
    return b"".join((BLOCK_TAG, varint(len(block)), block))


def _seq_steps(seqs: Sequence[int]) -> bytes:
    """Return field and tag of the distances: where all take one byte, bytes are made of them at once."""
    first, last = seqs[0], seqs[-1]
    if last - first == len(seqs) - 1:  # they rise, so that each is the one after the last
        rest = b"\1" * (last - first)
    else:
        try:
            rest = bytes(map(sub, seqs[1:], seqs))
        except ValueError:  # beyond a byte
            rest = _NOT_ASCII
        if not rest.isascii():
            return record_pb2.EventBlock(seq_steps=steps_of(seqs)).SerializeToString()
    return _packed(_SEQ_TAG, encode_varint(first) + rest)


def encode_column(field: Field, values: Sequence[Any]) -> bytes:
    """Return a column of a block: a serialized `Column`.

    Args:
        field: what it is of; one of COLUMN_TYPES.
        values: its value in each event, all of a kind that the field takes: numbers in its range, the numbers of an
            enum, texts that are UTF-8. Ints and bools may stand for numbers. Numbers may be an array: "d" of
            reals, in which little-endian machines have them, "q" or "Q" of what is whole.
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
        return _packed(_FLOATS_TAG, _one_of(struct.pack(f"<{len(values)}f", *values), _FLOAT_BYTES))
    doubles = values.tobytes() if isinstance(values, array) else struct.pack(f"<{len(values)}d", *values)
    return _packed(_DOUBLES_TAG, _one_of(doubles, _DOUBLE_BYTES))


def _are_single(values: Sequence[float]) -> bool:
    """Tell whether single precision holds doubles exactly. The first one tells nearly always, for the price of one."""
    return _is_single(values[:1]) and _is_single(values)


def _is_single(values: Sequence[float]) -> bool:
    # From bytes: zeros of both signs are equal, and no NaN equals another.
    doubles = array("d", values)
    return array("d", array("f", doubles)).tobytes() == doubles.tobytes()


_DIGITS = bytes.maketrans(b"\0\1", b"01")


def _one_of(data: bytes, width: int) -> bytes:
    """Return the one value that `data` repeats, or all of it."""
    one = data[:width]
    return one if data[width : 2 * width] == one and data == one * (len(data) // width) else data


def _integers(values: Sequence[int], *, wide: bool) -> bytes:
    if isinstance(values, DictionaryColumn):
        return _dictionary_of_integers(values, wide=wide)
    if isinstance(values, array):  # its own count makes an object of each
        shared = len(_one_of(values.tobytes(), values.itemsize)) == values.itemsize
        values = values[:1].tolist() if shared else values.tolist()
    if values.count(values[0]) == len(values):
        least = int(values[0])
        return _ints(_signed([least]), least, least)
    least, most = min(values), max(values)
    if wide and most >= _I64_LIMIT:
        values = _signed(values)
        least, most = min(values), max(values)
    if _steps_serve(values, least, most):
        return _int_steps(steps_of(values))
    return _ints(values, least, most)


def _dictionary_of_integers(column: DictionaryColumn, *, wide: bool) -> bytes:
    values = _signed(column.values) if wide else column.values
    least, most = min(values), max(values)
    signed = DictionaryColumn(values, column.indices)
    if _steps_serve(signed, least, most):
        return _int_steps(steps_of(list(signed)))
    if least >= -_SMALL and most < _SMALL:
        return _packed(_INTS_TAG, column.indices.translate(_short(values).ljust(MOST_VALUES, b"\0")))
    each = [encode_varint(value << 1 ^ value >> _SIGN) for value in values]
    return _packed(_INTS_TAG, b"".join([each[index] for index in column.indices]))


def _steps_serve(values: Sequence[int], least: int, most: int) -> bool:
    """Tell whether signed numbers between `least` and `most` are written as steps."""
    # Two values that are further apart have a difference that no step can hold.
    return most - least < _I64_LIMIT and _smaller(values)


def _ints(values: Sequence[int], least: int, most: int) -> bytes:
    if least >= -_SMALL and most < _SMALL:
        return _packed(_INTS_TAG, _short(values))
    return record_pb2.Column(ints=values).SerializeToString()


def _int_steps(steps: Sequence[int]) -> bytes:
    first, rest = steps[0], steps[1:]
    if min(rest) < -_SMALL or max(rest) >= _SMALL:
        return record_pb2.Column(int_steps=steps).SerializeToString()
    start = record_pb2.Column(int_steps=[first]).SerializeToString()
    return _packed(_INT_STEPS_TAG, start[2:] + _short(rest))  # behind tag and length


def _short(values: Sequence[int]) -> bytes:
    """Return numbers that take one byte each as sint64, packed, in less than half of protobuf's time."""
    return struct.pack(f"{len(values)}b", *values).translate(_ZIGZAG)


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
        return _ints([int(truths[0])], 0, 1)
    digits = bytes(reversed(truths)).translate(_DIGITS)
    return _packed(_FLAGS_TAG, int(digits, 2).to_bytes(-(-len(truths) // 8), "little"))


def _texts(values: Sequence[str]) -> bytes:
    if isinstance(values, DictionaryColumn):
        return _dictionary_of_texts(values.values, values.indices)
    distinct = dict.fromkeys(values)
    if len(distinct) in (1, len(values)):
        return record_pb2.Column(texts=distinct).SerializeToString()
    places = {text: place for place, text in enumerate(distinct)}
    indices = map(places.__getitem__, values)
    if len(distinct) > _ONE_BYTE:
        return record_pb2.Column(texts=distinct, indices=indices).SerializeToString()
    return _dictionary_of_texts(distinct, bytes(indices))


def _dictionary_of_texts(distinct: Iterable[str], indices: bytes) -> bytes:
    texts = record_pb2.Column(texts=distinct)
    if len(texts.texts) > _ONE_BYTE:
        texts.indices.extend(indices)
        return texts.SerializeToString()
    return texts.SerializeToString() + _packed(_INDICES_TAG, indices)


def steps_of(values: Sequence[int]) -> list[int]:
    """Return the first of `values`, then the difference of each to the one before."""
    return [values[0], *map(sub, values[1:], values)]
