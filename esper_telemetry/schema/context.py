"""Context: where in the run an event happened, as cached bytes.

A context is serialized once when it is bound and then costs nothing per event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import SchemaError
from esper_telemetry.schema.encoder import payload_encoders
from esper_telemetry.schema.guard import plain_value
from esper_telemetry.v1 import context_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTEXT_FIELDS: frozenset[str] = frozenset(context_pb2.Context.DESCRIPTOR.fields_by_name)


def encode_context(fields: Mapping[str, Any]) -> bytes:
    """Return the serialized Context with `fields`; None means unset.

    Raises:
        SchemaError: a name is not a field of Context, or a value does not fit it.
    """
    values = dict(fields)
    device = values.get("device")
    if device is not None and type(device) is not str:
        values["device"] = str(plain_value("device", device))
    try:
        return payload_encoders(context_pb2.Context).encode(values)
    except (TypeError, ValueError) as error:
        unknown = sorted(set(fields) - CONTEXT_FIELDS)
        if not unknown:
            raise SchemaError(f"context {dict(fields)!r} does not fit its schema: {error}") from None
    raise SchemaError(
        f"context has no field {unknown[0]!r}; its fields are {', '.join(sorted(CONTEXT_FIELDS))};"
        " put anything else into the event itself"
    )
