"""Values of single fields as a serialized message has them: tag and value, from number and type of the field alone.

For what knows no message class: an event that leaves a block, or one of a group that is too small for a block. A test
compares the result with protobuf's.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

from esper_telemetry.schema.envelope import varint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5  # wire types
_U64 = 1 << 64
_TYPE = FieldDescriptor


def _two_complement(number: int) -> bytes:
    return varint(number % _U64)


def _zigzag(number: int) -> bytes:
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def _text(text: str) -> bytes:
    data = text.encode()
    return varint(len(data)) + data


_FIXED: dict[int, tuple[int, Callable[..., bytes]]] = {
    _TYPE.TYPE_DOUBLE: (_FIXED64, struct.Struct("<d").pack),
    _TYPE.TYPE_FIXED64: (_FIXED64, struct.Struct("<Q").pack),
    _TYPE.TYPE_SFIXED64: (_FIXED64, struct.Struct("<q").pack),
    _TYPE.TYPE_FLOAT: (_FIXED32, struct.Struct("<f").pack),
    _TYPE.TYPE_FIXED32: (_FIXED32, struct.Struct("<I").pack),
    _TYPE.TYPE_SFIXED32: (_FIXED32, struct.Struct("<i").pack),
    _TYPE.TYPE_STRING: (_LENGTH, _text),
    _TYPE.TYPE_SINT32: (_VARINT, _zigzag),
    _TYPE.TYPE_SINT64: (_VARINT, _zigzag),
}


@lru_cache(maxsize=4096)
def field_packer(number: int, kind: int) -> tuple[bytes, Callable[..., bytes]]:
    """Return the tag of a field, and what makes the bytes behind it of a value.

    Args:
        number: of the field in its message.
        kind: FieldDescriptor.TYPE_* of a single number, bool, enum or text.
    """
    wire_type, pack = _FIXED.get(kind, (_VARINT, _two_complement))
    return varint(number << 3 | wire_type), pack


def pack_message(fields: Iterable[tuple[int, int]], values: Iterable[Any]) -> bytes:
    """Return a serialized message.

    Args:
        fields: number and type of each field that is set, by number.
        values: of each, all of a kind that it takes.
    """
    pieces: list[bytes] = []
    for (number, kind), value in zip(fields, values, strict=True):
        tag, pack = field_packer(number, kind)
        pieces += (tag, pack(value))
    return b"".join(pieces)
