"""The envelope joined by hand is the one protobuf would have written."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from esper_telemetry.schema import frame_event, varint
from esper_telemetry.schema.envelope import element_size
from esper_telemetry.v1.context_pb2 import Context
from esper_telemetry.v1.record_pb2 import Event, RecordFile
from tests.esper_telemetry.schema.strategies import EVENTS, THOROUGH, messages

UINT64 = st.integers(0, 2**64 - 1)
TYPE_IDS, SEQS = st.integers(1, 2**32 - 1), st.integers(1, 2**64 - 1)


def real(type_id, time, seq, context, payload) -> bytes:
    """Return what protobuf itself writes for the same event."""
    event = Event(type_id=type_id, time_unix_nano=time, seq=seq, payload=payload)
    if context:
        event.context.ParseFromString(context)
    return RecordFile(event=[event]).SerializeToString(deterministic=True)


@THOROUGH
@given(TYPE_IDS, st.integers(1, 2**64 - 1), SEQS, messages(Context), st.data())
def test_the_joined_envelope_equals_the_real_one(type_id, time, seq, context, data):
    event = data.draw(messages(data.draw(st.sampled_from(EVENTS))))
    arguments = (type_id, time, seq, context.SerializeToString(deterministic=True), event.SerializeToString())
    assert RecordFile.FromString(frame_event(*arguments)) == RecordFile.FromString(real(*arguments))
    if event.ByteSize():  # an empty payload is written out here and left out by protobuf: both read the same
        assert frame_event(*arguments) == real(*arguments)


@pytest.mark.parametrize("size", [1, 127, 128, 16_383, 16_384, 300_000, 512 * 1024])
def test_lengths_on_both_sides_of_each_varint_size_are_right(size):
    payload = b"p" * size
    assert frame_event(1, 1, 1, b"", payload) == real(1, 1, 1, b"", payload)


@pytest.mark.parametrize("boundary", [1, 127, 128, 2**14 - 1, 2**14, 2**21, 2**32 - 1])
def test_numbers_on_both_sides_of_each_varint_size_are_right(boundary):
    assert frame_event(boundary, 5, boundary, b"\x08\x01", b"p") == real(boundary, 5, boundary, b"\x08\x01", b"p")


@given(UINT64)
@example(2**14 - 1)
@example(2**14)
def test_a_varint_reads_back(value):
    encoded = varint(value)
    assert sum((byte & 0x7F) << 7 * place for place, byte in enumerate(encoded)) == value
    assert all(byte & 0x80 for byte in encoded[:-1])
    assert not encoded[-1] & 0x80
    assert len(encoded) == max(1, -(-value.bit_length() // 7))


def test_joined_elements_are_parsed_in_order():
    raw = b"".join(frame_event(1, 10 * seq, seq, b"", b"p%d" % seq) for seq in range(1, 6))
    assert [(event.seq, event.time_unix_nano, event.payload) for event in RecordFile.FromString(raw).event] == [
        (seq, 10 * seq, b"p%d" % seq) for seq in range(1, 6)
    ]


def test_every_cut_inside_an_element_is_an_error_and_between_elements_a_shorter_list():
    elements = [frame_event(1, 7, seq, b"\x08\x01", b"payload") for seq in (1, 2)]
    raw, whole = b"".join(elements), {0: 0, len(elements[0]): 1, sum(map(len, elements)): 2}
    for cut in range(len(raw) + 1):
        if cut in whole:
            assert len(RecordFile.FromString(raw[:cut]).event) == whole[cut]
        else:
            with pytest.raises(DecodeError):
                RecordFile.FromString(raw[:cut])


SIZES = [1, 126, 127, 128, 2**14 - 1, 2**14, 2**21]


@pytest.mark.parametrize("seq", [*SIZES, 2**21 - 1, 2**28, 2**63])
@pytest.mark.parametrize("context", [0, *SIZES[:4]])
def test_the_size_of_an_event_is_known_before_it_is_written(seq, context):
    for payload in (0, *SIZES):
        written = frame_event(127, 2**63, seq, bytes(context), bytes(payload))
        assert element_size(seq, context, payload) == len(written), payload
