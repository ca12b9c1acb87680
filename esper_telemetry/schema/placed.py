"""Calls that say where they happened: fields of Context beside those of the event.

`emit(Event, loss=0.5, step=7)` where only Context has a step. Such a call is packed by one written function into two
payloads, the event's and the context's, so that a step that changes with each call costs little more than one that
was bound. Where both have a field of a name, it is the event's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.schema.context import CONTEXT_FIELDS, encode_context
from esper_telemetry.schema.encoder import (
    WrittenFunctions,
    build,
    descriptor_of,
    payload_encoders,
    shape_of,
    unfit,
)
from esper_telemetry.schema.packing import write_function
from esper_telemetry.v1 import context_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message

    from esper_telemetry.schema.encoder import Shape

    Placed = Callable[..., tuple[bytes, bytes] | None]

_CONTEXT = descriptor_of(context_pb2.Context)


class PlacedEncoders(WrittenFunctions):
    """Functions from the fields of a call to the payloads of event and context.

    Args:
        cls: the event class.

    Attributes:
        names: fields of Context that a call may give beside those of the event.
    """

    def __init__(self, cls: type[Message]) -> None:
        super().__init__()
        self._cls = cls
        self._plain = payload_encoders(cls)
        self.names = CONTEXT_FIELDS - set(descriptor_of(cls).fields_by_name)

    def write(self, shape: Shape) -> Placed | None:
        """Return a function for a shape, or None where protobuf must make it."""
        own, where = self._split(dict(zip(*shape, strict=True)))
        if type(None) in where.values():
            return None  # to unset what is bound takes the bound fields themselves
        return write_function([(descriptor_of(self._cls), own.items()), (_CONTEXT, where.items())])

    def encode(self, fields: Mapping[str, Any], bound: Mapping[str, Any], encoded: bytes) -> tuple[bytes, bytes]:
        """Return the payload of an event and its context, which is `encoded` itself if the call adds nothing to it.

        Args:
            fields: of a call, those of Context among them; None unsets one that is bound.
            bound: the context that the call adds to.
            encoded: its bytes.

        Raises:
            SchemaError: a field does not exist, or cannot hold its value.
        """
        try:
            both = self[len(fields)](**fields)
        except TypeError:  # other names than those it was written for
            both = None
        if both is None:
            if self.names.isdisjoint(fields):
                return self._plain.encode_any(fields), encoded
            return self._encode_any(fields, bound, encoded)
        # The hot path asks the functions for calls without context first: it had better be told no at once.
        self._plain[len(fields)] = unfit
        payload, more = both
        return payload, encoded + more  # of a field that stands in both, the last one counts: so protobuf reads it

    def _encode_any(self, fields: Mapping[str, Any], bound: Mapping[str, Any], encoded: bytes) -> tuple[bytes, bytes]:
        shape = shape_of(fields)
        both = self.recall(shape, fields)
        if both is not None:
            return both[0], encoded + both[1]
        own, where = self._split(fields)
        payload, context = build(self._cls, own), encode_context({**bound, **where})
        self.learn(shape, fields, (payload, encode_context(where)))
        return payload, context

    def _split(self, fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the fields of the event, and those of Context."""
        where = {name: value for name, value in fields.items() if name in self.names}
        return {name: value for name, value in fields.items() if name not in where}, where


_encoders: dict[type[Message], PlacedEncoders] = {}


def placed_encoders(cls: type[Message]) -> PlacedEncoders:
    """Return the encoders of an event class for calls with context: one object for all runs and contexts."""
    encoders = _encoders.get(cls)
    if encoders is None:
        encoders = _encoders.setdefault(cls, PlacedEncoders(cls))
    return encoders
