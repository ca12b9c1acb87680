"""Which values of a call may be kept as they are until they are written, and a function that looks at them.

A value of a few exact types (float, int, bool, str) is kept where its type, or its type and a look at it, tell that
protobuf would take it and what it would make of it: whether an integer is in range, a label exists, a text is UTF-8.
All else is protobuf's to take or refuse, at once. A written function reads plain values only and raises nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor

from esper_telemetry.schema.misfit import is_of_this_line
from esper_telemetry.schema.plain import enum_numbers, is_repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from google.protobuf.descriptor import EnumDescriptor

    Check = Callable[[Mapping[str, Any]], int]
    Join = Callable[[Mapping[str, Any], tuple[Any, ...]], tuple[Any, ...] | None]

LONGEST_TEXTS = 64 * 1024
"""Bytes that the texts of one event may take to be kept as they are; a longer event is serialized at once."""

_TYPE = FieldDescriptor
_INTEGERS = {
    **dict.fromkeys((_TYPE.TYPE_INT32, _TYPE.TYPE_SINT32, _TYPE.TYPE_SFIXED32), (-(1 << 31), 1 << 31)),
    **dict.fromkeys((_TYPE.TYPE_INT64, _TYPE.TYPE_SINT64, _TYPE.TYPE_SFIXED64), (-(1 << 63), 1 << 63)),
    **dict.fromkeys((_TYPE.TYPE_UINT32, _TYPE.TYPE_FIXED32), (0, 1 << 32)),
    **dict.fromkeys((_TYPE.TYPE_UINT64, _TYPE.TYPE_FIXED64), (0, 1 << 64)),
}
# An integer below this, either way, is a double, rounded; beyond it may be too large, and protobuf decides.
_MAX_DOUBLE = 1 << 1023
_MAX_FLOAT = 3.4028234663852886e38
_MOST_BYTES_A_CHARACTER = 4


class ValueRule(NamedTuple):
    """How a field takes values of one type.

    Attributes:
        kind: the exact type of the values.
        condition: source of what must be true of `{}`, the value; empty where its type suffices.
        constant: what the source calls `_c{}`, or None.
        convert: from the value to what a column takes; None where that is the value itself.
        is_text: its length matters, and that it is UTF-8.
    """

    kind: type
    condition: str = ""
    constant: Any = None
    convert: Callable[[Any], Any] | None = None
    is_text: bool = False


def value_rule(field: FieldDescriptor, kind: type) -> ValueRule | None:
    """Return how values of exactly the type `kind` are kept for a field, or None where protobuf has to take them."""
    if is_repeated(field) or _shares_a_oneof(field):
        return None
    if field.enum_type is not None:
        return _enum_rule(field.enum_type, kind)
    if field.type in _INTEGERS:
        least, limit = _INTEGERS[field.type]
        return {int: ValueRule(int, f"{least} <= {{}} < {limit}"), bool: ValueRule(bool, convert=int)}.get(kind)
    return _RULES.get((field.type, kind))


_RULES = {
    (_TYPE.TYPE_DOUBLE, float): ValueRule(float),
    (_TYPE.TYPE_DOUBLE, bool): ValueRule(bool),
    (_TYPE.TYPE_DOUBLE, int): ValueRule(int, f"{-_MAX_DOUBLE} < {{}} < {_MAX_DOUBLE}"),
    (_TYPE.TYPE_FLOAT, float): ValueRule(float, f"{-_MAX_FLOAT} <= {{}} <= {_MAX_FLOAT}"),
    (_TYPE.TYPE_BOOL, bool): ValueRule(bool),
    (_TYPE.TYPE_STRING, str): ValueRule(str, is_text=True),
}


def _enum_rule(enum: EnumDescriptor, kind: type) -> ValueRule | None:
    numbers = enum_numbers(enum)
    if kind is str:
        return ValueRule(str, "{} in {}", numbers, numbers.__getitem__)
    return ValueRule(int, "{} in {}", frozenset(numbers.values())) if kind is int else None


def _shares_a_oneof(field: FieldDescriptor) -> bool:
    """Tell whether setting `field` may unset another one; proto3 gives every `optional` a oneof of its own."""
    return field.containing_oneof is not None and len(field.containing_oneof.fields) > 1


def write_check(rules: Iterable[tuple[str, ValueRule | None]]) -> Check:
    """Return a function from the fields of a call to the bytes of its texts, at most.

    It returns -1 for values that are not kept: one that does not fit, or texts that are too long. It raises KeyError
    where a name is missing, so that of a call with as many fields it tells whether its names are these.

    Args:
        rules: the name and the rule of each field; None for one that is not measured.
    """
    conditions, texts, scope = _judged(rules, keep=False)
    lines = [f"if not ({conditions}): return -1"]
    lines += [f"_n = {texts}", f"return _n if _n <= {LONGEST_TEXTS} else -1"] if texts else ["return 0"]
    written: Check = _function("_check(_f)", lines, scope)
    return written


def write_join(rules: Sequence[tuple[str, ValueRule | None]], more: int) -> Join:
    """Return a function from the fields of a call and a tuple to the tuple (that one, size, names, value, ...).

    It is how a context adds to another one: size is that of the other, its second item, and `more`, and the bytes of
    the texts. The function returns None for values that are not kept, and raises KeyError where a name is missing.

    Args:
        rules: the name and the rule of each field; None for one that is not measured.
        more: what the size grows by, without texts.
    """
    conditions, texts, scope = _judged(rules, keep=True)
    scope["_names"] = tuple(name for name, _ in rules)
    lines = [f"if not ({conditions}): return None"]
    lines += [f"_n = {texts}", f"if _n > {LONGEST_TEXTS}: return None"] if texts else []
    values = "".join(f", _v{place}" for place in range(len(rules)))
    lines.append(f"return (_w, _w[1] + {more}{' + _n' if texts else ''}, _names{values})")
    written: Join = _function("_join(_f, _w)", lines, scope)
    return written


def _judged(rules: Iterable[tuple[str, ValueRule | None]], *, keep: bool) -> tuple[str, str, dict[str, Any]]:
    """Return the source of a condition on all values, that of the bytes of their texts, and what these use.

    Args:
        rules: the name and the rule of each field.
        keep: a value is called _v0, _v1, ... also where nothing but its type is looked at.
    """
    scope: dict[str, Any] = {"__name__": __name__, "_type": type, "_size": _text_size, "_len": len}
    scope |= {f"_{kind.__name__}": kind for kind in (bool, float, int, str)}
    conditions, texts = [], []
    for place, (name, rule) in enumerate(rules):
        value, constant = f"_f[{name!r}]", f"_c{place}"
        needed = keep or (rule is not None and (rule.condition or rule.is_text))
        given = f"(_v{place} := {value})" if needed else value
        if rule is None:
            conditions.append(f"{given} is None")
            continue
        conditions.append(f"_type({given}) is _{rule.kind.__name__}")
        if rule.condition:
            scope[constant] = rule.constant
            conditions.append(rule.condition.format(f"_v{place}", constant))
        if rule.is_text:
            texts.append(f"(_len(_v{place}) if _v{place}.isascii() else _size(_v{place}))")
    return " and ".join(conditions) or "True", " + ".join(texts), scope


def _function(head: str, lines: Iterable[str], scope: dict[str, Any]) -> Any:
    # The source holds names of fields, as the literals of texts, and numbers: no value of a caller's.
    exec(f"def {head}:" + "".join(f"\n  {line}" for line in lines), scope)  # noqa: S102 - as dataclasses do it
    return scope[head.partition("(")[0]]


def _text_size(text: str) -> int:
    """Return the most bytes that a text takes; more than a row may have for one that is no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:  # a lone surrogate
        if not is_of_this_line(error):
            raise
        return LONGEST_TEXTS + 1
    return _MOST_BYTES_A_CHARACTER * len(text)
