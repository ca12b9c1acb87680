"""Every message of the schema goes through bytes and back, here and in the hands of a reader without our code."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.schema import SchemaPool, file_closure, to_plain
from esper_telemetry.v1.record_pb2 import RecordFile
from tests.esper_telemetry.schema.strategies import EVENTS, MESSAGES, THOROUGH, full, messages, name_of


def plain_text(message) -> str:
    """Return `.data` in a form in which NaN equals NaN."""
    return repr(to_plain(message))


@pytest.mark.parametrize("cls", MESSAGES, ids=name_of)
def test_a_message_set_in_every_field_reads_back(cls):
    filled = full(cls)
    assert {field.name for message in filled for field, _ in message.ListFields()} == set(cls.DESCRIPTOR.fields_by_name)
    assert [cls.FromString(message.SerializeToString()) for message in filled] == filled


@pytest.mark.parametrize("cls", MESSAGES, ids=name_of)
def test_any_message_reads_back(cls):
    @THOROUGH
    @given(messages(cls))
    def check(message):
        raw = message.SerializeToString(deterministic=True)
        assert cls.FromString(raw).SerializeToString(deterministic=True) == raw

    check()


@pytest.mark.parametrize("cls", EVENTS, ids=name_of)
def test_a_reader_without_generated_code_sees_the_same(cls):
    pool = SchemaPool()
    pool.add(file_closure([cls]).SerializeToString())
    stranger = pool.message_class(cls.DESCRIPTOR.full_name)
    assert stranger is not cls

    @THOROUGH
    @given(messages(cls))
    def check(message):
        raw = message.SerializeToString(deterministic=True)
        read = stranger.FromString(raw)
        assert plain_text(read) == plain_text(message)
        assert read.SerializeToString(deterministic=True) == raw

    check()


@THOROUGH
@given(st.one_of(st.binary(max_size=300), messages(RecordFile).map(RecordFile.SerializeToString)), st.data())
def test_bytes_of_anything_are_refused_or_read_as_a_message_that_reads_back(raw, data):
    cut = raw[: data.draw(st.integers(0, len(raw)))]
    try:
        read = RecordFile.FromString(cut)
    except DecodeError:
        return
    written = read.SerializeToString(deterministic=True)
    assert RecordFile.FromString(written).SerializeToString(deterministic=True) == written
    assert (read.ByteSize() == 0) == (not cut), "bytes that are read are kept, known fields or not"
