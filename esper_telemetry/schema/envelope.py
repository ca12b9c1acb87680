"""The envelope of an event, joined by hand.

An element of `RecordFile.event` is built from constant pieces instead of through
protobuf: same bytes, a third of the time, and most pieces do not change between
events of one type and context. A test compares the result with the real message.
"""

from __future__ import annotations

import itertools
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

# Tags of RecordFile.event and of the fields of Event, from record.proto.
ELEMENT_TAG = b"\x12"
_TYPE_ID_TAG = b"\x08"
_TIME_TAG = b"\x11"
SEQ_TAG = b"\x18"
_CONTEXT_TAG = b"\x22"
_PAYLOAD_TAG = b"\x2a"

pack_time = Struct("<Q").pack

_TIME_BYTES = 8
_FIXED_BYTES = _TIME_BYTES + len(SEQ_TAG)
# Bytes of the two lengths of an event of up to 512 KiB, and of a number up to 2**35.
_LONGEST_LENGTHS, _LONGEST_NUMBER = 6, 5
_UNKNOWN = len(ELEMENT_TAG) + _LONGEST_LENGTHS + _LONGEST_NUMBER
_VARINT_BITS = 7
_CACHED = 1 << 14
_U64 = (1 << 64) - 1


def encode_varint(value: int) -> bytes:
    """Return `value` (not negative) as a protobuf varint."""
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - a varint byte holds seven bits
        out.append(value & 0x7F | 0x80)
        value >>= _VARINT_BITS
    out.append(value)
    return bytes(out)


# The two lowest bytes of a number over 16,383, with continuation bits: SEQ_LOW[n & 0x3FFF] + varint(n >> 14).
SEQ_LOW_BITS = 14
SEQ_LOW = tuple(bytes((low & 0x7F | 0x80, low >> _VARINT_BITS | 0x80)) for low in range(1 << SEQ_LOW_BITS))

# Lengths under 16 KiB are looked up: the loop above costs 300 ns, this 20.
SHORT_VARINTS = tuple(encode_varint(value) for value in range(_CACHED))


def varint(value: int) -> bytes:
    """Return `value` (not negative) as a protobuf varint, looked up when it is small."""
    return SHORT_VARINTS[value] if value < _CACHED else encode_varint(value)


def varint_size(value: int) -> int:
    """Return the bytes of a varint; negative numbers take ten."""
    if 0 <= value < 1 << _VARINT_BITS:  # nearly always, at a fifth of the price
        return 1
    return -(-(value & _U64).bit_length() // _VARINT_BITS)


def envelope_head(type_id: int) -> bytes:
    """Return the bytes of an Event before its time: they depend on the type alone."""
    return _TYPE_ID_TAG + varint(type_id) + _TIME_TAG


def envelope_middle(context: bytes) -> bytes:
    """Return the bytes of an Event between its sequence number and the length of its payload."""
    return (_CONTEXT_TAG + varint(len(context)) + context if context else b"") + _PAYLOAD_TAG


class EnvelopeParts:
    """What of an envelope depends on type and context alone.

    Args:
        type_id: id in the type table, from 1.
        context: a serialized Context; empty where there is none.

    Attributes:
        type_id: as given.
        head: bytes of the Event before its time.
        middle: bytes between its sequence number and the length of its payload.
        constant: bytes of the Event but for its sequence number, its payload and that one's length.
        room: most bytes that an envelope adds to a payload of an event, up to number 2**35.
    """

    __slots__ = ("constant", "head", "middle", "room", "type_id")

    def __init__(self, type_id: int, context: bytes) -> None:
        self.type_id = type_id
        self.head = envelope_head(type_id)
        self.middle = envelope_middle(context)
        self.constant = len(self.head) + _FIXED_BYTES + len(self.middle)
        self.room = self.constant + _UNKNOWN

    def within(self, context: bytes) -> EnvelopeParts:
        """Return the parts for the same type in another context, at a third of the constructor's price."""
        parts = _new_parts(EnvelopeParts)
        parts.type_id = self.type_id
        parts.head = head = self.head
        size = len(context)
        tagged = _CONTEXT_TAG + (SHORT_VARINTS[size] if size < _CACHED else encode_varint(size))
        parts.middle = middle = tagged + context + _PAYLOAD_TAG if context else _PAYLOAD_TAG
        parts.constant = constant = len(head) + _FIXED_BYTES + len(middle)
        parts.room = constant + _UNKNOWN
        return parts


_new_parts = EnvelopeParts.__new__


class Joined(NamedTuple):
    """Elements of `RecordFile.event`, made of what the buffer holds.

    Attributes:
        events: one for each event, tag and length included.
        latest: monotonic time that the last of them is stamped with.
        room: bytes that they were reckoned at: what `EnvelopeParts.room` and the payloads add up to.
    """

    events: list[bytes]
    latest: int
    room: int


def join_events(entries: Iterable[Any], offset: int, seq: int, latest: int = 0) -> Joined:
    """Make elements of `RecordFile.event`: the same as `frame_event` for many, at a third of its cost.

    Args:
        entries: for each event, one after the other: its EnvelopeParts, its monotonic time in nanoseconds, its
            payload. Times may be out of order by what lies between reading a clock and storing the event, which
            other threads may use: an event is stamped no earlier than the one before it.
        offset: what makes wall time of monotonic time, nanoseconds.
        seq: sequence number of the first event; the others follow without a gap.
        latest: monotonic time before which none is stamped.
    """
    upper, high, room = 0, b"", 0
    low_mask, join = len(SEQ_LOW) - 1, b"".join
    events: list[bytes] = []
    append = events.append
    each = iter(entries)
    for parts, time, payload, number in zip(each, each, each, itertools.count(seq), strict=False):
        if number < _CACHED:
            low, high, upper = SHORT_VARINTS[number], b"", 0
            digits = len(low)
        else:
            if number >> SEQ_LOW_BITS != upper:  # once in 16,384 events
                upper = number >> SEQ_LOW_BITS
                high = encode_varint(upper)
            low = SEQ_LOW[number & low_mask]
            digits = len(low) + len(high)
        if time > latest:  # noqa: PLR1730 - max() costs 60 ns more
            latest = time
        length = len(payload)
        size = SHORT_VARINTS[length] if length < _CACHED else encode_varint(length)
        fixed = parts.constant + length
        room += fixed
        body = fixed + digits + len(size)
        total = SHORT_VARINTS[body] if body < _CACHED else encode_varint(body)
        stamp = pack_time(offset + latest)
        append(join((ELEMENT_TAG, total, parts.head, stamp, SEQ_TAG, low, high, parts.middle, size, payload)))
    return Joined(events, latest, room + len(events) * _UNKNOWN)


def frame_event(type_id: int, time_unix_nano: int, seq: int, context: bytes, payload: bytes) -> bytes:
    """Return one element of `RecordFile.event`, tag and length included.

    Args:
        type_id: id in the type table, from 1.
        time_unix_nano: wall clock, nanoseconds since 1970 UTC.
        seq: sequence number of the event in its stream, from 1.
        context: a serialized Context; empty where there is none.
        payload: the serialized event message.
    """
    body = b"".join(
        (
            envelope_head(type_id),
            pack_time(time_unix_nano),
            SEQ_TAG,
            varint(seq),
            envelope_middle(context),
            varint(len(payload)),
            payload,
        )
    )
    return ELEMENT_TAG + varint(len(body)) + body


def element_size(seq: int, context: int, payload: int) -> int:
    """Return the bytes that an event takes in its frame before compression, if its type id is under 128.

    Args:
        seq: its sequence number.
        context: bytes of its serialized context.
        payload: bytes of its serialized message.
    """
    # Written out: this is asked for every event that is counted, and calls would be most of its price.
    type_id, time, tag = 2, 9, 1
    number = (2 if seq < 1 << 14 else 3) if 1 << 7 <= seq < 1 << 21 else varint_size(seq)
    body = type_id + time + tag + number
    body += payload + tag + (1 if payload < 1 << _VARINT_BITS else varint_size(payload))
    if context:
        body += context + tag + (1 if context < 1 << _VARINT_BITS else varint_size(context))
    return body + tag + (1 if body < 1 << _VARINT_BITS else varint_size(body))
