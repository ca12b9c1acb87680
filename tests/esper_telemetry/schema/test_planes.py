"""Numbers of a column as planes: every number comes back, in the width that the widest of them needs."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.schema.planes import (
    machine_size,
    pack_integers,
    pack_reals,
    pack_unsigned,
    real_numbers,
    unpack_integers,
    unpack_reals,
)

WIDTHS = range(1, 9)


@pytest.mark.parametrize("width", WIDTHS)
def test_integers_take_the_bytes_that_the_widest_needs(width):
    most, least = (1 << 8 * width - 1) - 1, -(1 << 8 * width - 1)
    for values in ([0, most], [least, 0], [least, most, 1, -1]):
        data = pack_integers(values)
        assert len(data) == width * len(values)
        for size in (0, *(size for size in (1, 2, 4, 8) if size >= width)):
            assert list(unpack_integers(data, len(values), size=size)) == values
        assert unpack_integers(data, len(values)).itemsize == machine_size(data, len(values)) >= width
    if width < 8:
        assert len(pack_integers([most + 1, 0])) == 2 * (width + 1)


@pytest.mark.parametrize("width", WIDTHS)
def test_numbers_without_a_sign_have_the_highest_bit_for_themselves(width):
    values = [0, (1 << 8 * width) - 1, 1]
    data = pack_unsigned(values, max(values))
    assert len(data) == width * 3
    assert list(unpack_integers(data, 3, signed=False)) == values


def test_bytes_of_the_same_worth_lie_side_by_side():
    assert pack_integers([0x0102, 0x0304, -1]) == bytes([0x02, 0x04, 0xFF, 0x01, 0x03, 0xFF])
    assert pack_unsigned([0, 0], 0) == b"\0\0"


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1))
def test_any_integers_come_back(values):
    assert list(unpack_integers(pack_integers(values), len(values))) == values


@pytest.mark.parametrize(("size", "code"), [(8, "d"), (4, "f")])
@given(data=st.data())
def test_any_stretch_of_real_numbers_comes_back_bit_by_bit(size, code, data):
    values = data.draw(st.lists(st.floats(width=size * 8), min_size=1, max_size=20))
    start = data.draw(st.integers(0, len(values)))
    stop = data.draw(st.integers(start, len(values)))
    plain = struct.pack(f"<{len(values)}{code}", *values)
    packed = pack_reals(plain, size)
    assert unpack_reals(packed, size) == plain
    assert unpack_reals(packed, size, start, stop) == plain[start * size : stop * size]
    assert struct.pack(f"<{len(values)}{code}", *real_numbers(plain, size)) == plain


def test_sign_and_exponent_of_real_numbers_lie_apart():
    one, other = struct.pack("<2d", 1.1, 2.2)[:8], struct.pack("<2d", 1.1, 2.2)[8:]
    assert pack_reals(one + other, 8) == one[:6] + other[:6] + bytes([one[6], other[6], one[7], other[7]])
