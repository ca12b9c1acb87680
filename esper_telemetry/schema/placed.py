"""Calls that state where they happened: fields of Context beside those of the event.

`emit(Event, loss=0.5, step=7)` where only Context has a step. Such a call is packed by one written function into two
payloads, the event's and the context's, so that a step that changes with each call costs little more than one that
was bound. Where both have a field of a name, it is the event's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import SchemaError
from esper_telemetry.schema.context import CONTEXT_FIELDS, encode_context
from esper_telemetry.schema.encoder import (
    WrittenFunctions,
    build,
    descriptor_of,
    payload_encoders,
    serialized,
    shape_of,
    unfit,
)
from esper_telemetry.schema.event_type import event_type
from esper_telemetry.schema.packing import write_function
from esper_telemetry.schema.shown import shown
from esper_telemetry.v1 import context_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message

    from esper_telemetry.schema.encoder import Shape

    # A message that the caller has built, or None; what was given without a name; the fields.
    Call = tuple[Message | None, tuple[object, ...], Mapping[str, Any]]
    Placed = Callable[..., tuple[bytes, bytes] | None]

HOW = "call emit(EventClass, field=value, ...), such as emit(events.ScalarLogged, name='loss', value=0.5)"
"""How an event is emitted, for those who tried otherwise."""

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
        self._requires = event_type(cls).requires
        self.names = CONTEXT_FIELDS - set(descriptor_of(cls).fields_by_name)

    def write(self, shape: Shape) -> Placed | None:
        """Return a function for a shape, or None where protobuf must make it."""
        own, where = self._split(dict(zip(*shape, strict=True)))
        if type(None) in where.values():
            return None  # to unset what is bound takes the bound fields themselves
        return write_function([(descriptor_of(self._cls), own.items()), (_CONTEXT, where.items())])

    def lacking(self, fields: Mapping[str, Any], bound: Mapping[str, Any]) -> str | None:
        """Return a field of Context that the event requires and neither the call nor what is bound gives."""
        for name in self._requires:
            if fields.get(name, bound.get(name)) is None:
                return name
        return None

    def pack(
        self,
        call: tuple[Message | None, tuple[object, ...], Mapping[str, Any]],
        bound: Mapping[str, Any],
        encoded: bytes,
    ) -> tuple[bytes, bytes]:
        """Return the payload and the context of any call of an event, as `encode` does.

        Args:
            call: what it was given.
            bound: the context that the call adds to.
            encoded: its bytes.

        Raises:
            SchemaError: the call is not what the schema declares.
        """
        message, wrong, fields = call
        if wrong:
            raise SchemaError(f"it was given {shown(wrong[0])} without a name; {HOW}", about="no name")
        lacking = self.lacking(fields, bound)
        if lacking is not None:
            raise SchemaError(
                f"it requires {lacking} in its context; use run.bind({lacking}=...).emit(...), or give {lacking}= in"
                " the call",
                about=f"requires {lacking}",
            )
        if message is None:
            return self.encode(fields, bound, encoded)
        others = sorted(fields.keys() - self.names)
        if others:
            raise SchemaError(f"a ready message takes no fields, and was given {shown(others[0])}: set it before")
        return serialized(message), encode_context({**bound, **fields}) if fields else encoded

    def encode(self, fields: Mapping[str, Any], bound: Mapping[str, Any], encoded: bytes) -> tuple[bytes, bytes]:
        """Return the payload of an event and its context, which is `encoded` itself if the call adds nothing to it.

        Args:
            fields: of a call, those of Context among them; None unsets one that is bound.
            bound: the context that the call adds to.
            encoded: its bytes.

        Raises:
            SchemaError: a field does not exist, or cannot hold its value.
        """
        both = self.fit(fields)
        if both is None:
            if self.names.isdisjoint(fields):
                return self._plain.encode_any(fields), encoded
            return self._encode_any(fields, bound, encoded)
        # The hot path asks the functions for calls without context first: it had better fail at once.
        self._plain[len(fields)] = unfit
        payload, more = both
        return payload, encoded + more  # of a field that is in both, the last one counts: so protobuf reads it

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
