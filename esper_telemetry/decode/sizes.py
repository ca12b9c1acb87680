"""How many bytes each field of a message takes on the wire, from its values alone.

The protobuf encoding (https://protobuf.dev/programming-guides/encoding/): a tag for each field or item, packed
lists of numbers share one. A test holds the sums against what protobuf itself serializes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor as F

from esper_telemetry.schema import is_map, is_repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message

_BITS = 7
_U64 = (1 << 64) - 1
_FIXED = {
    F.TYPE_DOUBLE: 8,
    F.TYPE_FIXED64: 8,
    F.TYPE_SFIXED64: 8,
    F.TYPE_FLOAT: 4,
    F.TYPE_FIXED32: 4,
    F.TYPE_SFIXED32: 4,
    F.TYPE_BOOL: 1,
}


def varint_size(value: int) -> int:
    """Return the bytes of a varint; negative numbers take ten."""
    if 0 <= value < 1 << _BITS:  # nearly always, at a fifth of the price
        return 1
    return max(1, -(-(value & _U64).bit_length() // _BITS))


def envelope_size(seq: int, context: int, payload: int) -> int:
    """Return the bytes that an event takes in its frame before compression, if its type id is under 128.

    Args:
        seq: its number.
        context: bytes of its serialized context.
        payload: bytes of its serialized message.
    """
    # Written out: this is asked for every event that is counted, and calls would be most of its price.
    type_id, time, tag = 2, 9, 1
    number = (2 if seq < 1 << 14 else 3) if 1 << 7 <= seq < 1 << 21 else varint_size(seq)
    body = type_id + time + tag + number
    body += payload + tag + (1 if payload < 1 << _BITS else varint_size(payload))
    if context:
        body += context + tag + (1 if context < 1 << _BITS else varint_size(context))
    return body + tag + (1 if body < 1 << _BITS else varint_size(body))


def field_sizes(message: Message) -> dict[str, int]:
    """Return the bytes of each set field of `message`, tags and lengths included; unknown fields are not counted."""
    return {field.name: _field_size(field, value) for field, value in message.ListFields()}


def _field_size(field: F, value: Any) -> int:
    tag = varint_size(field.number << 3)
    if is_map(field) and field.message_type is not None:
        fields = field.message_type.fields_by_name
        key, item = _sizer(fields["key"]), _sizer(fields["value"])
        return sum(tag + _length_prefixed(2 + key(one) + item(value[one])) for one in value)
    size = _sizer(field)
    if not is_repeated(field):
        return tag + size(value)
    if field.is_packed:
        return tag + _length_prefixed(_total(field, value, size))
    return len(value) * tag + sum(map(size, value))


def _total(field: F, values: Sequence[Any], size: Callable[[Any], int]) -> int:
    fixed = _FIXED.get(field.type)
    return fixed * len(values) if fixed is not None else sum(map(size, values))


def _sizer(field: F) -> Callable[[Any], int]:  # noqa: PLR0911 - one return per kind of encoding
    """Return what gives the bytes of one value of `field`, its tag aside."""
    if field.type in _FIXED:
        fixed = _FIXED[field.type]
        return lambda _: fixed
    if field.type in (F.TYPE_SINT32, F.TYPE_SINT64):
        return lambda value: varint_size(value << 1 if value >= 0 else ~(value << 1))
    if field.type == F.TYPE_STRING:
        return lambda value: _length_prefixed(len(value.encode()))
    if field.type == F.TYPE_BYTES:
        return lambda value: _length_prefixed(len(value))
    if field.type == F.TYPE_MESSAGE:
        return lambda value: _length_prefixed(value.ByteSize())
    if field.type == F.TYPE_GROUP:
        end = varint_size(field.number << 3)
        return lambda value: value.ByteSize() + end
    return varint_size


def _length_prefixed(size: int) -> int:
    return varint_size(size) + size


def _delimited(size: int) -> int:
    return 1 + _length_prefixed(size)
