"""Lengths and tags in serialized protobuf, found without a copy of what they describe. Pure."""

from __future__ import annotations

_LONGEST_VARINT = 10


def after_varint(data: memoryview, at: int, end: int) -> int:
    """Return the offset behind the varint at `at`; `end` where it does not end before."""
    for place in range(at, min(end, at + _LONGEST_VARINT)):
        if data[place] < 0x80:  # noqa: PLR2004 - the last byte of a varint has no continuation bit
            return place + 1
    return end


def varint(data: memoryview, at: int, end: int) -> int:
    """Return the value of the varint from `at` to `end`."""
    value = 0
    for place in range(end - 1, at - 1, -1):
        value = value << 7 | data[place] & 0x7F
    return value
