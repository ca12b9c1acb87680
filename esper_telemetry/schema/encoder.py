"""Payloads of events without building the message: a function is written for each shape of call that comes often.

protobuf builds and serializes the first calls of a shape, and what it made is what the function must make: it is
used only after it has reproduced, byte for byte, the payload that protobuf made of the same values. A shape gets
one function, once: values that it does not fit (packing.py) are left to protobuf, at protobuf's price, and so is
every check: a value is accepted or refused by the same rule at every call.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import SchemaError
from esper_telemetry.schema.fields import REFUSALS, misfit, plain_fields
from esper_telemetry.schema.misfit import is_misfit, is_of_this_line
from esper_telemetry.schema.packing import write_function
from esper_telemetry.schema.shown import reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

    Encoder = Callable[..., bytes | None]
    Shape = tuple[tuple[str, ...], tuple[type, ...]]

# Writing a function takes as long as some 200 events: a shape that was seen so often is likely to come again.
_SIGHTINGS = 16
# Shapes of one class that are followed: a caller that makes up new ones all the time gets protobuf.
_SHAPES = 64


def shape_of(fields: Mapping[str, Any]) -> Shape:
    """Return what functions are written for: the names and the types of a call's fields."""
    return tuple(fields), tuple(map(type, fields.values()))


class WrittenFunctions(dict[int, "Callable[..., Any]"]):
    """Number of fields of a call → the function last used for so many; call it with the fields.

    It returns None for values that it cannot pack, and raises only the TypeError of Python's own call where the
    names are others. Threads may share it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: Counter[Shape] = Counter()
        self._written: dict[Shape, Callable[..., Any] | None] = {}
        self._proven: dict[Shape, Callable[..., Any]] = {}

    def __missing__(self, count: int) -> Callable[..., Any]:
        """Return a function that fits nothing: no call with so many fields has come often yet."""
        return unfit

    def write(self, shape: Shape) -> Callable[..., Any] | None:
        """Return a function for a shape, or None where protobuf must make it."""
        raise NotImplementedError

    def fit(self, fields: Mapping[str, Any]) -> Any:
        """Return what the function of the moment makes of a call, or None; the hot path does the same."""
        try:
            return self[len(fields)](**fields)
        except TypeError as error:  # other names than those it was written for
            if not is_of_this_line(error):
                raise
            return None

    def recall(self, shape: Shape, fields: Mapping[str, Any]) -> Any:
        """Return what the function of a shape makes, if another shape took its place since; else None."""
        proven = self._proven.get(shape)
        if proven is None or self.get(len(fields)) is proven:
            return None
        self[len(fields)] = proven
        return proven(**fields)

    def learn(self, shape: Shape, fields: Mapping[str, Any], expected: Any) -> None:
        """Count a call; once its shape has come often, use a function for it that makes what protobuf made."""
        if shape in self._proven or not self._due(shape):
            return
        if shape not in self._written:
            self._written[shape] = self.write(shape)
        function = self._written[shape]
        made = function(**fields) if function is not None else None
        if function is not None and made == expected:
            self._proven[shape] = self[len(fields)] = function
        elif made is not None:
            self._written[shape] = None  # it packs something else: never used

    def _due(self, shape: Shape) -> bool:
        if shape not in self._seen and len(self._seen) >= _SHAPES:
            return False
        self._seen[shape] += 1
        return self._seen[shape] >= _SIGHTINGS


class PayloadEncoders(WrittenFunctions):
    """Functions from the fields of a call to its payload.

    Args:
        cls: the event class.
    """

    def __init__(self, cls: type[Message]) -> None:
        super().__init__()
        self._cls = cls

    def write(self, shape: Shape) -> Encoder | None:
        """Return a function for a shape, or None where protobuf must make it."""
        return write_encoder(self._cls, *shape)

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """Return the payload of a call.

        Raises:
            SchemaError: as `encode_any`.
        """
        payload: bytes | None = self.fit(fields)
        return self.encode_any(fields) if payload is None else payload

    def encode_any(self, fields: Mapping[str, Any]) -> bytes:
        """Return the payload of any call, also of one that the function of the moment does not fit.

        Raises:
            SchemaError: there is no such field, or it cannot hold the value; nothing of a device was read.
        """
        shape = shape_of(fields)
        payload: bytes | None = self.recall(shape, fields)
        if payload is None:
            payload = build(self._cls, fields)
            self.learn(shape, fields, payload)
        return payload


_encoders: dict[type[Message], PayloadEncoders] = {}


def payload_encoders(cls: type[Message]) -> PayloadEncoders:
    """Return the encoders of an event class: one object for all runs and contexts."""
    encoders = _encoders.get(cls)
    if encoders is None:
        encoders = _encoders.setdefault(cls, PayloadEncoders(cls))
    return encoders


def write_encoder(cls: type[Message], names: tuple[str, ...], types: tuple[type, ...]) -> Encoder | None:
    """Return a function from the fields of a call to their payload, or None where protobuf must make it.

    Args:
        cls: the event class.
        names: the fields.
        types: the type of each value.
    """
    return write_function([(descriptor_of(cls), zip(names, types, strict=True))])


def build(cls: type[Message], fields: Mapping[str, Any]) -> bytes:
    """Return the payload that protobuf makes of `fields`, after they were made plain.

    Raises:
        SchemaError: as `PayloadEncoders.encode_any`.
    """
    plain = plain_fields(descriptor_of(cls), fields)
    try:
        return cls(**plain).SerializeToString()
    except REFUSALS as error:
        if not is_misfit(error):
            raise
        raise misfit(cls, plain, error) from None


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


def unfit(**_: object) -> None:
    """Fit no call."""


class _Unseen(dict[Any, Any]):
    """Plans of an emitter that has seen no event: asking costs a fraction of a KeyError, and many emit once only."""

    def __missing__(self, event: Any) -> None:
        """Return that nothing is known; it is here, where what is raised meanwhile is known to be the caller's."""


UNSEEN = _Unseen()
