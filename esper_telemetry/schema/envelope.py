"""The envelope of an event that travels alone, joined by hand: an element of `RecordFile.event`.

The same bytes as protobuf's, in a third of the time. A test compares the result with the real message.
"""

from __future__ import annotations

from struct import Struct

# Tags of RecordFile.event and of the fields of Event, from record.proto.
ELEMENT_TAG = b"\x12"
_TYPE_ID_TAG = b"\x08"
_TIME_TAG = b"\x11"
SEQ_TAG = b"\x18"
_CONTEXT_TAG = b"\x22"
_PAYLOAD_TAG = b"\x2a"

pack_time = Struct("<Q").pack

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
