"""From the fields of a call to a message: the one rule by which values are accepted or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import SchemaError
from esper_telemetry.schema.fields import REFUSALS, misfit, plain_fields
from esper_telemetry.schema.misfit import is_misfit
from esper_telemetry.schema.shown import reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message


def build(cls: type[Message], fields: Mapping[str, Any]) -> Message:
    """Return the message that protobuf makes of `fields`, after they were made plain; it can be serialized.

    Raises:
        SchemaError: there is no such field, or it cannot hold the value; nothing of a device was read.
    """
    plain = plain_fields(descriptor_of(cls), fields)
    try:
        message = cls(**plain)
        message.SerializeToString()  # which finds what is required and missing
    except REFUSALS as error:
        if not is_misfit(error):
            raise
        raise misfit(cls, plain, error) from None
    return message


def serialized(message: Message) -> bytes:
    """Return the bytes of a ready message.

    Raises:
        SchemaError: it lacks a field that its schema requires.
    """
    try:
        return message.SerializeToString()
    except REFUSALS as error:
        if not is_misfit(error):
            raise
        raise SchemaError(f"the message was refused: {reason(error)}", about=type(error).__name__) from None


def descriptor_of(cls: type[Message]) -> Descriptor:
    """Return the descriptor of a message class, typed for both implementations of protobuf."""
    descriptor: Any = cls.DESCRIPTOR
    return descriptor  # type: ignore[no-any-return]  # a cast would be a call of another module
