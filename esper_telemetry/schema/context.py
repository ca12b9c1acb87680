"""Context: where in the run an event happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import SchemaError
from esper_telemetry.schema.encoder import build
from esper_telemetry.schema.guard import plain_value
from esper_telemetry.schema.shown import shown
from esper_telemetry.v1 import context_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

CONTEXT_FIELDS: frozenset[str] = frozenset(context_pb2.Context.DESCRIPTOR.fields_by_name)


def encode_context(fields: Mapping[str, Any]) -> bytes:
    """Return the serialized Context with `fields`; None means unset.

    Raises:
        SchemaError: a name is not a field of Context, or a value does not fit it.
    """
    return build_context(fields).SerializeToString()


def build_context(fields: Mapping[str, Any]) -> Message:
    """Return the Context with `fields`; None means unset.

    Raises:
        SchemaError: a name is not a field of Context, or a value does not fit it.
    """
    unknown = sorted(fields.keys() - CONTEXT_FIELDS)
    if unknown:
        raise SchemaError(
            f"context has no field {shown(unknown[0])}; its fields are {', '.join(sorted(CONTEXT_FIELDS))};"
            " put anything else into the event itself",
            about="context: no field",
        )
    device = fields.get("device")
    if device is not None and type(device) is not str:
        fields = {**fields, "device": str(plain_value("device", device))}
    try:
        return build(context_pb2.Context, fields)
    except SchemaError as error:
        raise SchemaError(f"context: {error}", about=f"context: {error.about}") from None
