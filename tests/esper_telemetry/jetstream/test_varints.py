"""Varints are found and read as protobuf writes them."""

from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.jetstream.varints import after_varint, varint
from esper_telemetry.schema.envelope import encode_varint


@given(st.integers(0, (1 << 64) - 1), st.binary(max_size=5), st.binary(max_size=5))
def test_a_varint_is_found_between_other_bytes_and_read(value, before, behind):
    data = memoryview(before + encode_varint(value) + behind)
    end = after_varint(data, len(before), len(data))
    assert end == len(data) - len(behind)
    assert varint(data, len(before), end) == value


@given(st.integers(1, 20))
def test_a_varint_without_an_end_ends_with_the_bytes(count):
    assert after_varint(memoryview(b"\x80" * count), 0, count) == count
