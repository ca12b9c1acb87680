"""What each kind of field takes: one rule for every protobuf, because the implementations differ.

    integer   an int, also of numpy, of an IntEnum or of a subclass; a bool is 0 or 1
    enum      a number, the name of a value, or its label as readers print it; a bool is a mistake
    real      an int, a float or a bool, also of numpy; a Fraction
    bool      a bool, also of numpy; an int is true unless it is 0
    string    a str, or bytes that are UTF-8; a path
    bytes     bytes, a bytearray, a memoryview
    message   a dict of its fields, by the same rules, or a message
    list      a list, tuple, set, range or deque, an array of numpy with one dimension
    map       a mapping

One value may come as a numpy array of one element. None is "not measured", and no item of a list. What is left to
protobuf is what all its versions agree on: ranges, UTF-8, unknown numbers of closed enums, required fields. (6.30
takes True for an integer and 7.36 does not; 6.30 ends the process for a label with a lone surrogate.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import EncodeError, Message

from esper_telemetry.errors import SchemaError
from esper_telemetry.schema.guard import is_numpy, list_items, plain_scalar
from esper_telemetry.schema.misfit import is_misfit
from esper_telemetry.schema.plain import enum_numbers, is_map, is_repeated
from esper_telemetry.schema.shown import reason, shown

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, EnumDescriptor

    Convert = Callable[[str, Any], Any]

# What protobuf raises for a value that it refuses.
REFUSALS = (TypeError, ValueError, ArithmeticError, LookupError, EncodeError)
_MOST_NAMES = 40


class Rule(NamedTuple):
    """What a field takes.

    Attributes:
        exact: types whose values need no second look.
        convert: from the place and a value of another type to what protobuf takes; raises SchemaError.
    """

    exact: frozenset[type]
    convert: Convert


def plain_fields(message: Descriptor, fields: Mapping[str, Any], place: str = "") -> Mapping[str, Any]:
    """Return `fields` as every protobuf takes them; the same object when nothing had to be converted.

    Args:
        message: what they are fields of.
        fields: what the caller gave; None means not measured.
        place: where the message is in an event, for errors: "heads[2]."; empty for the event itself.

    Raises:
        SchemaError: there is no such field, or it cannot hold the value.
    """
    rules = field_rules(message)
    converted: dict[str, Any] | None = None
    for name, value in fields.items():
        rule = rules.get(name)
        if rule is None:
            raise unknown_field(message, name, place)
        if value is None or type(value) in rule.exact:
            continue
        plain = rule.convert(f"field '{place}{name}'", value)
        if plain is not value:
            converted = dict(fields) if converted is None else converted
            converted[name] = plain
    return fields if converted is None else converted


def unknown_field(message: Descriptor, name: Any, place: str = "") -> SchemaError:
    """Return the error that `message` has no field called `name`."""
    known = [field.name for field in message.fields]
    where = f"{place.removesuffix('.')} has" if place else "it has"
    return SchemaError(
        f"{where} no field {shown(name)}; its fields are {_listed(known)}", about=f"{place}: no {shown(name)}"
    )


def misfit(cls: type[Message], fields: Mapping[str, Any], error: Exception) -> SchemaError:
    """Return protobuf's refusal of `fields` as an error that names the field it is about.

    Args:
        cls: the message class.
        fields: plain ones, as `plain_fields` returned them.
        error: what protobuf raised.
    """
    for name, value in fields.items():
        try:
            cls(**{name: value})
        except REFUSALS as alone:
            if not is_misfit(alone):
                raise
            text = f"field {name!r} was given {shown(value)}: {reason(alone)}"
            return SchemaError(text, about=f"{name}: {type(alone).__name__}")
    return SchemaError(f"it was refused: {reason(error)}", about=type(error).__name__)


@lru_cache(maxsize=1024)  # bounded: a program may make message classes as it goes
def field_rules(message: Descriptor) -> dict[str, Rule]:
    """Return name → rule for the fields of `message`."""
    return {field.name: _rule(field) for field in message.fields}


def _rule(field: FieldDescriptor) -> Rule:
    if is_map(field) and field.message_type is not None:
        entry = field.message_type.fields_by_name
        return Rule(frozenset(), _map(_item_rule(entry["key"]), _item_rule(entry["value"])))
    return Rule(frozenset(), _list(_item_rule(field))) if is_repeated(field) else _item_rule(field)


def _item_rule(field: FieldDescriptor) -> Rule:
    """Return the rule for one value of a field."""
    if field.message_type is not None:
        return Rule(frozenset(), _message(field.message_type))
    if field.enum_type is not None:
        return Rule(frozenset({int}), _enum(field.enum_type))
    return _SCALARS.get(field.type, _INTEGER)


def _scalar(place: str, wanted: str, value: Any) -> Any:
    """Return one plain value; a container is refused."""
    if isinstance(value, Mapping) or (not is_numpy(value) and list_items(value) is not None):
        raise _wrong(place, wanted, value)
    return plain_scalar(place, value)


def _of(wanted: str, kinds: tuple[type, ...], result: type | None = None) -> Convert:
    """Return what takes a plain value of some types, and makes another type of it where `result` names one."""

    def convert(place: str, value: Any) -> Any:
        plain = _scalar(place, wanted, value)
        if not isinstance(plain, kinds):
            raise _wrong(place, wanted, value)
        return plain if result is None else result(plain)

    return convert


def _enum(kind: EnumDescriptor) -> Convert:
    numbers = enum_numbers(kind)
    wanted = f"one of {_listed(labels_of(kind))} (or its number)"

    def convert(place: str, value: Any) -> int:
        plain = _scalar(place, wanted, value)
        if isinstance(plain, str):
            plain = numbers.get(plain)
        if isinstance(plain, int) and not isinstance(plain, bool):
            return plain
        raise _wrong(place, wanted, value)

    return convert


def labels_of(kind: EnumDescriptor) -> list[str]:
    """Return the names of the values of an enum as readers print them, in order of their numbers."""
    labels = {number: label for label, number in reversed(enum_numbers(kind).items())}
    return [labels[number] for number in sorted(labels)]


def _message(message: Descriptor) -> Convert:
    def convert(place: str, value: Any) -> Any:
        if isinstance(value, Message):
            return value
        if isinstance(value, Mapping):
            return plain_fields(message, value, f"{_bare(place)}.")
        raise _wrong(place, f"a dict with fields of {message.name}", value)

    return convert


def _list(item: Rule) -> Convert:
    def convert(place: str, value: Any) -> list[Any]:
        items = list_items(value)
        if items is None:
            raise _wrong(place, "a list", value)
        # A column of a block has thousands of plain numbers: looking at their types alone is 10 times faster.
        if item.exact.issuperset(map(type, items)):
            return items
        return [_item(item, f"field '{_bare(place)}[{index}]'", one) for index, one in enumerate(items)]

    return convert


def _map(key: Rule, item: Rule) -> Convert:
    def convert(place: str, value: Any) -> Mapping[Any, Any]:
        if not isinstance(value, Mapping):
            raise _wrong(place, "a mapping", value)
        if key.exact.issuperset(map(type, value)) and item.exact.issuperset(map(type, value.values())):
            return value
        where = _bare(place)
        return {
            _item(key, f"a key of field {where!r}", name): _item(item, f"field '{where}[{shown(name)}]'", one)
            for name, one in value.items()
        }

    return convert


def _item(rule: Rule, place: str, value: Any) -> Any:
    return value if type(value) in rule.exact else rule.convert(place, value)


def _bare(place: str) -> str:
    """Return the path inside a place: heads[2] of "field 'heads[2]'"."""
    return place.partition("'")[2].removesuffix("'")


def _wrong(place: str, wanted: str, value: Any) -> SchemaError:
    return SchemaError(
        f"{place} takes {wanted} and was given {shown(value)}", about=f"{place}: {type(value).__qualname__}"
    )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


_INTEGER = Rule(frozenset({int}), _of("an integer", (int,), int))
_REAL = Rule(frozenset({float, int, bool}), _of("a number", (int, float)))
_SCALARS = {
    FieldDescriptor.TYPE_DOUBLE: _REAL,
    FieldDescriptor.TYPE_FLOAT: _REAL,
    FieldDescriptor.TYPE_BOOL: Rule(frozenset({bool}), _of("True or False", (int,), bool)),
    FieldDescriptor.TYPE_STRING: Rule(frozenset({str}), _of("a text", (str, bytes))),
    FieldDescriptor.TYPE_BYTES: Rule(frozenset({bytes}), _of("bytes", (bytes,))),
}
