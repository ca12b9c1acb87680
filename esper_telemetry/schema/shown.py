"""Values of a caller's in a text for people: short, and without asking the value for anything.

An error names what offended. That may be a text of ten megabytes, an integer with more digits than Python
prints, a tensor on a device or an object whose repr fails: plain values are cut, all others are named by type.
"""

from __future__ import annotations

from typing import Any

from esper_telemetry.schema.misfit import is_misfit

_MOST = 60
_MOST_BITS = 256
_MOST_OF_AN_ERROR = 400


def shown(value: Any) -> str:
    """Return `value` as an error names it, in some hundred characters at most."""
    kind = type(value)
    if kind is int and value.bit_length() > _MOST_BITS:
        return f"an integer of {value.bit_length():,} bits"
    if kind in (str, bytes):
        rest = f"... ({len(value):,} long)" if len(value) > _MOST else ""
        return f"{value[:_MOST]!r}{rest}"
    if kind in (int, float, bool, type(None)):
        return repr(value)
    return f"a {type_name(kind)}"


def type_name(kind: type) -> str:
    """Return the name of a type with its module, cut to a length that fits a line."""
    return cut(f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."), 2 * _MOST)


def cut(text: str, most: int) -> str:
    """Return `text` if it is at most `most` characters, else its beginning with a mark."""
    return text if len(text) <= most else f"{text[:most]}..."


def reason(error: BaseException) -> str:
    """Return the text of an error, cut; its type where the text is empty or fails."""
    try:
        text = str(error)
    except Exception as failure:  # an error of the caller's own class may fail to print
        if not is_misfit(failure):
            raise
        text = ""
    return cut(text, _MOST_OF_AN_ERROR) or type_name(type(error))
