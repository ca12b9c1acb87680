"""Functions that pack the fields of a call into a payload, written for one shape of call each.

A shape is the names and types of the fields. A written function looks at types alone before it packs, so a tensor
is never read; it returns None for every value that it cannot pack exactly as protobuf would, and raises nothing:
what it returns None for, lists, maps and messages among it, is left to protobuf, and so is every refusal.
"""

from __future__ import annotations

import itertools
import keyword
import struct
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

from esper_telemetry.schema.envelope import SEQ_LOW, SEQ_LOW_BITS, SHORT_VARINTS, varint
from esper_telemetry.schema.plain import enum_numbers, is_repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from google.protobuf.descriptor import Descriptor, EnumDescriptor

_VARINT, _FIXED64, _LENGTH = 0, 1, 2  # wire types
_INTEGERS = {
    FieldDescriptor.TYPE_INT32: (-(1 << 31), 1 << 31),
    FieldDescriptor.TYPE_INT64: (-(1 << 63), 1 << 63),
    FieldDescriptor.TYPE_UINT32: (0, 1 << 32),
    FieldDescriptor.TYPE_UINT64: (0, 1 << 64),
}
# (type of a field, type of a value) → wire type and struct code of what has a fixed size. A bool is packed as the
# varint of 0 or 1, whatever integer it is given for.
_FIXED: dict[tuple[int, type], tuple[int, str]] = {
    **{(FieldDescriptor.TYPE_DOUBLE, kind): (_FIXED64, "d") for kind in (float, int, bool)},
    **{(kind, bool): (_VARINT, "?") for kind in (*_INTEGERS, FieldDescriptor.TYPE_BOOL)},
}
_LOW_MASK = len(SEQ_LOW) - 1
_MAX_SHORT = len(SHORT_VARINTS)
_MAX_MIDDLE = _MAX_SHORT << SEQ_LOW_BITS
# An integer below this, either way, is a double, rounded; beyond it may be too large, and protobuf decides.
_MAX_DOUBLE = 1 << 1023
_WIDE = (1 << 64) - 1


def write_function(parts: Sequence[tuple[Descriptor, Iterable[tuple[str, type]]]]) -> Callable[..., Any] | None:
    """Return a function from the fields of a call, as keywords, to the payload of each part.

    Args:
        parts: a message and the fields that go into it, name and type of value. No name is in two parts.

    Returns:
        A function that returns bytes where there is one part and a tuple of them where there are more, or None for
        values that it cannot pack; None if protobuf has to make some field.
    """
    source = _Source()
    for message, fields in parts:
        known = message.fields_by_name
        ordered = sorted(((known[name], kind) for name, kind in fields), key=lambda pair: pair[0].number)
        if not all(source.add(field, kind) for field, kind in ordered):
            return None
        source.end_part()
    scope: dict[str, Any] = {**_NAMES, **source.constants}
    # The source holds names of fields, which protobuf takes for identifiers, and numbers: no value of a caller's.
    exec(source.text(), scope)  # noqa: S102 - as dataclasses make their methods
    written: Callable[..., Any] = scope["_encode"]
    return written


def _long_varint(value: int) -> bytes:
    """Return any integer of 64 bits as protobuf writes it: a negative one as its two's complement, in ten bytes."""
    value &= _WIDE
    pieces = []
    while value >= _MAX_SHORT:
        pieces.append(SEQ_LOW[value & _LOW_MASK])
        value >>= SEQ_LOW_BITS
    pieces.append(SHORT_VARINTS[value])
    return b"".join(pieces)


# What a written function calls; a field may have the name of a builtin.
_KINDS: dict[type, str] = {kind: f"_{kind.__name__}" for kind in (bool, float, int, str)}
_NAMES: dict[str, Any] = {
    **{name: kind for kind, name in _KINDS.items()},
    "_type": type,
    "_len": len,
    "_short": SHORT_VARINTS,
    "_low": SEQ_LOW,
    "_join": b"".join,
    "_long": _long_varint,
    "_varint": varint,
    "_surrogate": UnicodeEncodeError,
}


class _Source:
    """The source of a function, field by field in the order of their numbers.

    Tags and values of fixed size that follow one another are packed by one Struct, what has a length of its
    own is between them. A tag belongs to the piece before it, which saves a piece. Names of its own begin with
    an underscore, those of fields do not.

    Attributes:
        constants: the Structs and tables, by the names that the source has for them.
    """

    def __init__(self) -> None:
        self.constants: dict[str, Any] = {}
        self._arguments: list[str] = []
        self._checks: list[str] = []
        self._lines: list[str] = []
        self._texts: list[str] = []
        self._results: list[str] = []
        self._pieces: list[str] = []
        self._format = ""
        self._packed: list[str] = []
        self._names = map("_{}".format, itertools.count())

    def add(self, field: FieldDescriptor, kind: type) -> bool:
        """Add a field to the part that is being written; return False if that makes it a case for protobuf."""
        name = field.name
        if is_repeated(field) or _shares_a_oneof(field) or name.startswith("_") or keyword.iskeyword(name):
            return False
        self._arguments.append(name)
        if kind is type(None):  # not measured
            self._checks.append(f"{name} is None")
            return True
        add = self._adder(field, kind)
        if add is None:
            return False
        self._checks.append(f"_type({name}) is {_KINDS[kind]}")
        if not field.has_presence and field.enum_type is None:
            self._checks.append(name)  # protobuf leaves out a zero
        add()
        return True

    def _adder(self, field: FieldDescriptor, kind: type) -> Callable[[], None] | None:
        """Return what adds a field with values of a type, or None where nothing does."""
        if (field.type, kind) in _FIXED:
            return lambda: self._add_fixed(field, kind)
        if field.type in _INTEGERS and kind is int:
            return lambda: self._add_integer(field)
        if field.type == FieldDescriptor.TYPE_STRING and kind is str:
            return lambda: self._add_text(field)
        if field.enum_type is not None and kind in (int, str):
            return lambda: self._add_enum(field, kind)
        return None

    def end_part(self) -> None:
        """End a payload; what is added next goes into another one."""
        self._flush()
        pieces = ", ".join(self._pieces) or "b''"
        self._results.append(f"_join(({pieces}))" if len(self._pieces) > 1 else pieces)
        self._pieces = []

    def text(self) -> str:
        """Return the whole function."""
        lines = [f"if not ({' and '.join(self._checks) or True}): return None"]
        if self._texts:  # the one thing that may fail: a lone surrogate
            tried = "; ".join(self._texts)
            lines += [
                f"try: {tried}",
                "except _surrogate as _error:",
                "  if _error.__traceback__.tb_next is not None: raise",
                "  return None",
            ]
        lines += [*self._lines, f"return {', '.join(self._results)}"]
        return f"def _encode({', '.join(self._arguments)}):" + "".join(f"\n  {line}" for line in lines)

    def _add_fixed(self, field: FieldDescriptor, kind: type) -> None:
        wire_type, code = _FIXED[field.type, kind]
        if (code, kind) == ("d", int):
            self._checks.append(f"{-_MAX_DOUBLE} < {field.name} < {_MAX_DOUBLE}")
        self._add_tag(field, wire_type)
        self._format += code
        self._packed.append(field.name)

    def _add_text(self, field: FieldDescriptor) -> None:
        self._add_tag(field, _LENGTH)
        self._flush()
        text, size = next(self._names), next(self._names)
        self._texts.append(f"{text} = {field.name}.encode()")
        self._lines.append(f"{size} = _len({text})")
        self._pieces += [f"_short[{size}] if {size} < {_MAX_SHORT} else _varint({size})", text]

    def _add_integer(self, field: FieldDescriptor) -> None:
        """Add an integer: looked up to 28 bits, where nearly all are; beyond that made, a little slower."""
        self._add_tag(field, _VARINT)
        self._flush()
        name, digits, (least, limit) = field.name, next(self._names), _INTEGERS[field.type]
        middle = f"_low[{name} & {_LOW_MASK}] + _short[{name} >> {SEQ_LOW_BITS}]"
        self._lines += [
            f"if 0 <= {name} < {_MAX_SHORT}: {digits} = _short[{name}]",
            f"elif 0 <= {name} < {_MAX_MIDDLE}: {digits} = {middle}",
            f"elif {least} <= {name} < {limit}: {digits} = _long({name})",
            "else: return None",
        ]
        self._pieces.append(digits)

    def _add_enum(self, field: FieldDescriptor, kind: type) -> None:
        """Add an enum: bytes by number or by name; what the enum does not have is protobuf's to take or refuse."""
        if field.enum_type is None:
            return
        self._flush()
        table, found = next(self._names), next(self._names)
        self.constants[table] = _enum_table(field, field.enum_type, kind)
        self._lines += [f"{found} = {table}.get({field.name})", f"if {found} is None: return None"]
        self._pieces.append(found)

    def _add_tag(self, field: FieldDescriptor, wire_type: int) -> None:
        tag = varint(field.number << 3 | wire_type)
        self._format += "B" * len(tag)
        self._packed += map(str, tag)

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


def _enum_table(field: FieldDescriptor, enum: EnumDescriptor, kind: type) -> dict[Any, bytes]:
    """Return value of a call → tag and number; nothing for a zero that protobuf leaves out."""
    tag = varint(field.number << 3 | _VARINT)
    numbers = enum_numbers(enum)
    values = numbers if kind is str else {number: number for number in numbers.values()}
    left_out = None if field.has_presence else 0
    return {value: b"" if number == left_out else tag + _long_varint(number) for value, number in values.items()}


def _shares_a_oneof(field: FieldDescriptor) -> bool:
    """Tell whether setting `field` may unset another one; proto3 gives every `optional` a oneof of its own."""
    return field.containing_oneof is not None and len(field.containing_oneof.fields) > 1
