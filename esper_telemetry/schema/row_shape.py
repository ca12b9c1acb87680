"""Calls of an event that have the same names and types of values, and how their rows become columns.

A row is the dict of a call's own keyword arguments, kept as it came: it holds immutable values of exact types only. The
fields of Context in it, where a call states where it happened, become columns of the context.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from esper_telemetry.schema.event_block import Field
from esper_telemetry.schema.field_bytes import pack_message
from esper_telemetry.schema.row_columns import ColumnSource, RowColumns, RowSources
from esper_telemetry.schema.value_checks import value_rule, write_check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from google.protobuf.descriptor import Descriptor, FieldDescriptor

    from esper_telemetry.schema.value_checks import Check, ValueRule

    Shape = tuple[tuple[str, ...], tuple[type, ...]]

# Bytes that a value takes in memory, and about that it takes in a frame before compression; of a text without its
# characters.
_HELD: dict[type, int] = {float: 24, int: 32, str: 56, bool: 0}
PLAIN_TYPES = frozenset(_HELD)
"""Types that the values of a row have, none of their subclasses among them."""
_IN_FRAME: dict[type, int] = {float: 8, int: 3, str: 2, bool: 1}
_BYTES_OBJECT = 33


def shape_of(fields: Mapping[str, Any]) -> Shape:
    """Return names and types of a call's fields."""
    return tuple(fields), tuple(map(type, fields.values()))


@dataclass(slots=True, eq=False)
class RowShape:
    """What calls with the same names and types have in common.

    Attributes:
        names: of the fields, in the order of the call.
        types: of their values.
        check: as `write_check` returns it; of rows that no call gives, None.
        sources: of the event's columns, by number of field; None where a row is the serialized message.
        context: the same of the fields of Context that calls give.
        unset: fields of Context that calls give as None.
        held: bytes that a row takes in memory, without the characters of its texts, or the bytes of a payload.
        in_frame: bytes that it takes about in a frame, the same not included.
    """

    names: tuple[str, ...]
    types: tuple[type, ...]
    check: Check | None
    sources: RowSources | None
    context: tuple[ColumnSource, ...]
    unset: frozenset[str]
    held: int
    in_frame: int

    @property
    def fields(self) -> tuple[Field, ...] | None:
        """The fields of the message that have columns; None where rows are payloads."""
        return None if self.sources is None else tuple(source.field for source in self.sources)

    def columns(self, rows: Sequence[Any], pause: Callable[[], None] = lambda: None) -> Sequence[Sequence[Any]]:
        """Return the columns of the event in some rows, or the one column of payloads; `pause` is called meanwhile."""
        return [rows] if self.sources is None else RowColumns(self.sources, rows, pause)

    def payload(self, row: Any) -> bytes:
        """Return the serialized message of a row."""
        if self.sources is None:
            return bytes(row)
        return packed(self.sources, row)


def packed(sources: Iterable[ColumnSource], row: Mapping[str, Any]) -> bytes:
    """Return the fields of a row as a serialized message."""
    each = [(source.field, source.column((row,))[0]) for source in sources]
    return pack_message((field for field, _ in each), (value for _, value in each))


PAYLOAD = RowShape((), (), None, None, (), frozenset(), _BYTES_OBJECT, 0)
"""Events that were serialized at once: a row is the bytes."""


def write_shape(
    message: Descriptor, context: Descriptor | None, names: Iterable[str], types: Iterable[type]
) -> RowShape | None:
    """Return the shape of calls, or None where protobuf has to take them.

    Args:
        message: what the fields are fields of.
        context: what those are of that `message` does not have; None where there are none.
        names: the fields.
        types: the exact type of each value; NoneType for what is not measured.
    """
    names, types = tuple(names), tuple(types)
    own: list[ColumnSource] = []
    where: list[ColumnSource] = []
    unset: list[str] = []
    rules: list[tuple[str, ValueRule | None]] = []
    for name, kind in zip(names, types, strict=True):
        field = message.fields_by_name.get(name)
        is_own = field is not None
        if field is None and context is not None:
            field = context.fields_by_name.get(name)
        if field is None:
            return None
        if kind is type(None):
            unset += [] if is_own else [name]
            rules.append((name, None))
            continue
        rule = value_rule(field, kind)
        if rule is None:
            return None
        rules.append((name, rule))
        (own if is_own else where).append(ColumnSource(Field(field.number, field.type), name, rule.convert))
    sizes = _sizes(names, [kind for kind in types if kind is not type(None)])
    return RowShape(
        names, types, write_check(rules), RowSources(_by_number(own)), _by_number(where), frozenset(unset), *sizes
    )  # fmt: skip


def plain_shape(fields: Sequence[FieldDescriptor], types: Sequence[type]) -> RowShape:
    """Return the shape of rows that protobuf made: a value for each field that is set, by number."""
    sources = RowSources(ColumnSource(Field(field.number, field.type), field.name, None) for field in fields)
    names = tuple(field.name for field in fields)
    return RowShape(names, tuple(types), None, sources, (), frozenset(), *_sizes(names, types))


def _by_number(sources: Iterable[ColumnSource]) -> tuple[ColumnSource, ...]:
    return tuple(sorted(sources, key=lambda source: source.field.number))


def _sizes(names: Sequence[str], types: Iterable[type]) -> tuple[int, int]:
    kinds = list(types)
    held = sys.getsizeof(dict.fromkeys(names)) + sum(map(_HELD.__getitem__, kinds))
    return held, sum(map(_IN_FRAME.__getitem__, kinds))
