"""Bytes of single fields made without a class are those that protobuf makes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.schema.field_bytes import pack_message
from esper_telemetry.schema.frame_builder import row_of
from tests.esper_telemetry.schema.foreign import foreign
from tests.esper_telemetry.schema.strategies import EVENTS, THOROUGH, messages, name_of


@pytest.mark.parametrize("cls", EVENTS, ids=name_of)
def test_a_message_made_of_its_fields_is_the_one_protobuf_makes(cls):
    @THOROUGH
    @given(messages(cls))
    def check(message):
        row = row_of(message)
        if row is not None:
            assert pack_message(*row) == message.SerializeToString(deterministic=True)

    check()


@pytest.mark.parametrize("syntax", ["proto2", "proto3"])
def test_each_kind_of_single_field_is_packed_as_protobuf_packs_it(syntax):
    cls = foreign("Everything", syntax)

    @THOROUGH
    @given(messages(cls, depth=0), st.booleans())
    def check(message, bare):
        for field, _ in message.ListFields():
            listed = field.name.startswith(("many_", "inner"))
            if listed or field.name.endswith("bytes") or (bare and field.name.startswith("bare_")):
                message.ClearField(field.name)
        assert pack_message(*row_of(message)) == message.SerializeToString(deterministic=True)

    check()


def test_a_list_a_message_and_bytes_are_no_row():
    cls = foreign("Everything", "proto3")
    assert row_of(cls(many_double=[1.0])) is None
    assert row_of(cls(inner={"double": 1.0})) is None
    assert row_of(cls(bytes=b"x")) is None
    assert row_of(cls(double=1.0)) is not None
