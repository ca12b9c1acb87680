"""Numbers of a column as bytes that compress: what is alike in all of them lies side by side.

Integers take as many bytes as the widest of them needs, in two's complement, lowest byte first: the lowest bytes of
all, then the next bytes of all, and so on. Of real numbers (IEEE 754, little-endian) all bytes but the two highest stay
together, number by number; then the next-highest bytes of all follow, and the highest of all: there are sign and
exponent, which repeat, while the rest of a measurement is noise, or a pattern that repeats as a whole. Both are made
and read by slices, in C: some nanoseconds a number.

Pure: numbers in, bytes out, and back. `recordfile/FORMAT.md` is the text to this.
"""

from __future__ import annotations

import struct
from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    Buffer = bytes | bytearray

MAX_WIDTH = 8
DOUBLE_BYTES, FLOAT_BYTES = 8, 4
_APART = 2  # of the bytes of a real number those that are planes of their own: sign, exponent, start of the mantissa
_BIG_ENDIAN = array("H", [1]).tobytes() == b"\0\1"
_SIGNED = {1: "b", 2: "h", 4: "i", 8: "q"}
_UNSIGNED = {width: code.upper() for width, code in _SIGNED.items()}
# The smallest size of a machine's integer that holds so many bytes.
_SIZES = (0, 1, 2, 4, 4, 8, 8, 8, 8)
# The byte that a number goes on with above its highest one.
_SIGNS = bytes(128) + b"\xff" * 128


def pack_integers(values: Sequence[int]) -> bytes:
    """Return numbers as planes.

    Args:
        values: numbers from -2^63 to 2^63-1; an array of them is one of eight bytes each, on a little-endian machine.

    Raises:
        struct.error: one is beyond that.
    """
    if isinstance(values, array):
        return _signed_planes(values.tobytes(), values.itemsize)
    try:
        data = struct.pack(f"<{len(values)}i", *values)
    except struct.error:
        return _signed_planes(struct.pack(f"<{len(values)}q", *values), _SIZES[MAX_WIDTH])
    return _signed_planes(data, _SIZES[4])


def _signed_planes(data: bytes, size: int) -> bytes:
    """Return the planes that tell something: one that only goes on with the sign below it is left out.

    To compare planes takes a twentieth of the time in which the smallest and the largest number are found.
    """
    planes = [data[place::size] for place in range(size)]
    while len(planes) > 1 and planes[-1] == planes[-2].translate(_SIGNS):
        planes.pop()
    return b"".join(planes)


def pack_unsigned(values: Sequence[int], most: int) -> bytes:
    """Return numbers as planes, which have no sign.

    Args:
        values: numbers from 0 to 2^64-1.
        most: the largest.
    """
    width = -(-most.bit_length() // 8) or 1
    size = _SIZES[width]
    data = struct.pack(f"<{len(values)}{_UNSIGNED[size]}", *values)
    return data if size == 1 else b"".join([data[place::size] for place in range(width)])


def machine_size(data: Buffer, count: int) -> int:
    """Return the bytes of the smallest integer of the machine that holds each number of planes."""
    return _SIZES[len(data) // count]


def unpack_integers(data: Buffer, count: int, *, signed: bool = True, size: int = 0) -> array[int]:
    """Return the numbers that planes hold.

    Args:
        data: the planes, whole ones: 1 to 8 bytes a number.
        count: how many numbers, at least one.
        signed: whether they have a sign.
        size: bytes of the integers of the array: 1, 2, 4 or 8; 0 for the fewest that hold them.
    """
    width = len(data) // count
    size = size or _SIZES[width]
    numbers = array((_SIGNED if signed else _UNSIGNED)[size])
    if size == 1:
        numbers.frombytes(data)
        return numbers
    mixed = bytearray(count * size)
    for place in range(width):
        mixed[place::size] = data[place * count : (place + 1) * count]
    if signed and width < size and not data[(width - 1) * count :].isascii():
        sign = data[(width - 1) * count :].translate(_SIGNS)
        for place in range(width, size):
            mixed[place::size] = sign
    numbers.frombytes(mixed)
    if _BIG_ENDIAN:
        numbers.byteswap()
    return numbers


def pack_reals(data: Buffer, size: int) -> bytes:
    """Return real numbers in the order in which a column has their bytes.

    Args:
        data: little-endian IEEE 754.
        size: bytes of a number, 8 or 4.
    """
    together = array("H", data)
    del together[size // 2 - 1 :: size // 2]  # in place: two thirds of the time of a slice for each byte
    low = size - _APART
    return b"".join((together, data[low::size], data[low + 1 :: size]))


def unpack_reals(data: Buffer, size: int, start: int = 0, stop: int | None = None) -> bytearray:
    """Return real numbers as little-endian IEEE 754, the reverse of `pack_reals`.

    Args:
        data: as a column has it, whole numbers.
        size: bytes of a number, 8 or 4.
        start: first number that is wanted.
        stop: the number after the last one; None for all.
    """
    low, count = size - _APART, len(data) // size
    stop = count if stop is None else stop
    mixed = bytearray((stop - start) * size)
    for place in range(low):
        mixed[place::size] = data[start * low + place : stop * low : low]
    for place in range(low, size):
        at = count * place
        mixed[place::size] = data[at + start : at + stop]
    return mixed


def real_numbers(data: Buffer, size: int) -> array[float]:
    """Return little-endian IEEE 754 as numbers."""
    numbers = array("d" if size == DOUBLE_BYTES else "f")
    numbers.frombytes(data)
    if _BIG_ENDIAN:
        numbers.byteswap()
    return numbers
