"""Payloads of events without building the message: a function is written for each shape of call that comes often.

A shape is the names and types of the fields of one call. protobuf builds and serializes the first
calls of a shape, and what it made is what the function must make: it is used only after it has
reproduced, byte for byte, the payload that protobuf made of the same values. What a function is not
written for (lists, maps, messages, big or negative integers, types that no call came with) is left
to protobuf. Values are looked at by type alone before they are packed, so a tensor is never read.
"""

from __future__ import annotations

import itertools
import keyword
import struct
from collections import Counter
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

from esper_telemetry.schema.envelope import SEQ_LOW, SEQ_LOW_BITS, SHORT_VARINTS, varint
from esper_telemetry.schema.guard import plain_fields
from esper_telemetry.schema.plain import is_repeated

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    Encoder = Callable[..., bytes | None]
    Shape = tuple[tuple[str, ...], tuple[type, ...]]

# Writing a function takes as long as some 200 events: a shape that was seen so often is likely to come again.
_SIGHTINGS = 16
# Shapes of one class that are followed: a caller that makes up new ones all the time gets protobuf.
_SHAPES = 64

_VARINT, _FIXED64, _LENGTH = 0, 1, 2  # wire types
_INTEGERS = frozenset(
    {
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT32,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_ENUM,
    }
)
# (type of a field, type of a value) → wire type and struct code; "" where the value has a length of its own.
_CODES: dict[tuple[int, type], tuple[int, str]] = {
    (FieldDescriptor.TYPE_DOUBLE, float): (_FIXED64, "d"),
    (FieldDescriptor.TYPE_DOUBLE, int): (_FIXED64, "d"),
    (FieldDescriptor.TYPE_BOOL, bool): (_VARINT, "?"),
    (FieldDescriptor.TYPE_STRING, str): (_LENGTH, ""),
    **{(kind, int): (_VARINT, "") for kind in _INTEGERS},
}


class PayloadEncoders(dict[int, "Encoder"]):
    """Number of fields of a call → the function last used for so many; call it with the fields.

    It returns None for a call of another shape, or raises TypeError where the names of the fields are others:
    `encode_any` takes every call.

    Args:
        cls: the event class.
    """

    def __init__(self, cls: type[Message]) -> None:
        super().__init__()
        self._cls = cls
        self._seen: Counter[Shape] = Counter()
        self._made: dict[Shape, Encoder | None] = {}

    def __missing__(self, count: int) -> Encoder:
        """Return a function that fits nothing: no call with so many fields has come often yet."""
        return _unfit

    def encode(self, fields: dict[str, Any]) -> bytes:
        """Return the payload of a call; the hot path does the same without this call.

        Raises:
            SchemaError, TypeError, ValueError: as `encode_any`.
        """
        try:
            payload = self[len(fields)](**fields)
        except TypeError:  # other names
            payload = None
        return self.encode_any(fields) if payload is None else payload

    def encode_any(self, fields: dict[str, Any]) -> bytes:
        """Return the payload of any call, also of one that the function of the moment does not fit.

        Raises:
            SchemaError: a value is a tensor or of another type that no field can hold.
            TypeError, ValueError: protobuf refused a field.
        """
        shape = (tuple(fields), tuple(map(type, fields.values())))
        encoder = self._made.get(shape)
        if encoder is not None and self.get(len(fields)) is not encoder:  # another shape came in between
            self[len(fields)] = encoder
            payload = encoder(**fields)
            if payload is not None:
                return payload
        payload = self._cls(**plain_fields(fields)).SerializeToString()
        if shape not in self._made:
            self._learn(shape, fields, payload)
        return payload

    def _learn(self, shape: Shape, fields: dict[str, Any], payload: bytes) -> None:
        """Count a shape; write its function once it has come often."""
        if shape not in self._seen and len(self._seen) >= _SHAPES:
            return
        self._seen[shape] += 1
        if self._seen[shape] < _SIGHTINGS:
            return
        encoder = write_encoder(self._cls, *shape)
        if encoder is None:
            self._made[shape] = None
        elif encoder(**fields) == payload:
            self._made[shape] = self[len(fields)] = encoder


_encoders: dict[type[Message], PayloadEncoders] = {}


def payload_encoders(cls: type[Message]) -> PayloadEncoders:
    """Return the encoders of an event class: one object for all runs and contexts."""
    encoders = _encoders.get(cls)
    if encoders is None:
        encoders = _encoders[cls] = PayloadEncoders(cls)
    return encoders


def write_encoder(cls: type[Message], names: tuple[str, ...], types: tuple[type, ...]) -> Encoder | None:
    """Return a function from the fields of a call to their payload, or None where protobuf must make it.

    Args:
        cls: the event class.
        names: the fields.
        types: the type of each value.

    Returns:
        A function of keywords, which returns None for values of other types and for what it cannot encode. It raises
        nothing, so that an exception out of it is one that came from outside (a signal handler's).
    """
    writer = _Writer()
    fields = [cls.DESCRIPTOR.fields_by_name[name] for name in names]
    for field, kind in sorted(zip(fields, types, strict=True), key=lambda pair: pair[0].number):
        if not writer.add(field, kind):
            return None
    source = writer.source()
    scope: dict[str, Any] = {"_type": type, "_short": SHORT_VARINTS, "_low": SEQ_LOW, "_join": b"".join}
    scope |= {"_unfit": struct.error, **writer.constants}
    # The source holds names of fields, which protobuf takes for identifiers, and numbers: no value of a caller's.
    exec(source, scope)  # noqa: S102 - as dataclasses make their methods
    encoder: Encoder = scope["_encode"]
    return encoder


class _Writer:
    """Writes the source of an encoder, field by field in the order of their numbers.

    Tags and values of fixed size that follow one another are packed by one Struct, what has a length of its
    own stands between. A tag belongs to the piece before it, which saves a piece. Names of its own begin with
    an underscore, those of fields do not.

    Attributes:
        constants: the Structs, by the names that the source has for them.
    """

    def __init__(self) -> None:
        self.constants: dict[str, Any] = {}
        self._values: list[str] = []
        self._checks: list[str] = []
        self._lines: list[str] = []
        self._pieces: list[str] = []
        self._format = ""
        self._packed: list[str] = []
        self._names = map("_{}".format, itertools.count())

    def add(self, field: Any, kind: type) -> bool:
        """Add a field; return False if that makes it a case for protobuf."""
        name: str = field.name
        if is_repeated(field) or _shares_a_oneof(field) or name.startswith("_") or keyword.iskeyword(name):
            return False
        self._values.append(name)
        if kind is type(None):  # not measured
            self._checks.append(f"{name} is None")
            return True
        if (field.type, kind) not in _CODES:
            return False
        self._checks.append(f"_type({name}) is {kind.__name__}")
        if not field.has_presence:
            self._checks.append(name)  # protobuf leaves out a zero
        wire_type, code = _CODES[field.type, kind]
        tag = varint(field.number << 3 | wire_type)
        self._format += "B" * len(tag) + code
        self._packed += map(str, tag)
        if code:
            self._packed.append(name)
        elif kind is str:
            self._add_text(name)
        else:
            self._add_integer(name)
        return True

    def source(self) -> str:
        """Return the whole function."""
        self._flush()
        pieces = ", ".join(self._pieces) or "b''"
        result = f"_join(({pieces}))" if len(self._pieces) > 1 else pieces
        body = "".join(f"\n    {line}" for line in (*self._lines, f"return {result}"))
        return (
            f"def _encode({', '.join(self._values)}):"
            f"\n  if not ({' and '.join(self._checks) or True}): return None"
            f"\n  try:{body}"
            "\n  except (UnicodeEncodeError, IndexError, OverflowError, _unfit) as _error:"
            "\n    if _error.__traceback__.tb_next is not None: raise"
            "\n  return None"
        )

    def _add_text(self, name: str) -> None:
        """Add a text of up to 16,383 bytes; a longer one is an IndexError."""
        self._flush()
        text = next(self._names)
        self._lines.append(f"{text} = {name}.encode()")
        self._pieces += [f"_short[len({text})]", text]

    def _add_integer(self, name: str) -> None:
        """Add an integer of up to 28 bits; a larger one is an IndexError."""
        self._flush()
        self._checks.append(f"{name} >= 0")
        small, digits = next(self._names), f"_low[{name} & {len(SEQ_LOW) - 1}] + _short[{name} >> {SEQ_LOW_BITS}]"
        self._lines.append(f"{small} = _short[{name}] if {name} < {len(SHORT_VARINTS)} else {digits}")
        self._pieces.append(small)

    def _flush(self) -> None:
        """Make one piece of what is to be packed."""
        if not self._packed:
            return
        if all(map(str.isdecimal, self._packed)):  # a tag alone
            self._pieces.append(repr(bytes(map(int, self._packed))))
        else:
            name = next(self._names)
            self.constants[name] = struct.Struct("<" + self._format).pack
            self._pieces.append(f"{name}({', '.join(self._packed)})")
        self._format, self._packed = "", []


def _shares_a_oneof(field: FieldDescriptor) -> bool:
    """Tell whether setting `field` may unset another one; proto3 gives every `optional` a oneof of its own."""
    return field.containing_oneof is not None and len(field.containing_oneof.fields) > 1


def _unfit(**_: object) -> None:
    """Fit no call."""
