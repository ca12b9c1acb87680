"""The one rule by which values are accepted or refused."""

from __future__ import annotations

import pytest

from esper_telemetry import events
from esper_telemetry.errors import SchemaError
from esper_telemetry.schema.encoder import build, serialized
from tests.esper_telemetry.schema.foreign import foreign


def test_what_is_built_is_the_message_of_plain_values():
    assert build(events.ScalarLogged, {"name": "loss", "value": True, "step": None}) == events.ScalarLogged(
        name="loss", value=1.0
    )


def test_what_is_built_can_be_serialized():
    with pytest.raises(SchemaError, match="must"):
        build(foreign("Odd", "proto2"), {"len": "x"})
    with pytest.raises(SchemaError, match="the message was refused"):
        serialized(foreign("Odd", "proto2")(len="x"))


def test_a_refusal_names_field_and_value():
    with pytest.raises(SchemaError, match="field 'step' was given 18446744073709551616"):
        build(events.ScalarLogged, {"name": "x", "step": 2**64})
