"""Context: where in the run an event happened, as cached bytes.

A context is serialized once when it is bound and then costs nothing per event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import SchemaError
from esper_telemetry.schema.encoder import payload_encoders
from esper_telemetry.schema.guard import plain_value
from esper_telemetry.schema.misfit import is_of_this_line
from esper_telemetry.schema.shown import shown
from esper_telemetry.v1 import context_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTEXT_FIELDS: frozenset[str] = frozenset(context_pb2.Context.DESCRIPTOR.fields_by_name)


_encoders = payload_encoders(context_pb2.Context)


def encode_context(fields: Mapping[str, Any]) -> bytes:
    """Return the serialized Context with `fields`; None means unset.

    Raises:
        SchemaError: a name is not a field of Context, or a value does not fit it.
    """
    try:
        payload: bytes | None = _encoders[len(fields)](**fields)
    except TypeError as error:  # other names than those it was written for
        if not is_of_this_line(error):
            raise
        payload = None
    return _encode_any(fields) if payload is None else payload


def _encode_any(fields: Mapping[str, Any]) -> bytes:
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
        return _encoders.encode_any(fields)
    except SchemaError as error:
        raise SchemaError(f"context: {error}", about=f"context: {error.about}") from None
