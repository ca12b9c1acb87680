"""Text of a record as text of a page: nothing in it becomes markup, script, colour of a terminal or direction of type.

Everything that comes from a record passes through `shown`; elements are made by `element`, which escapes what it is
given. Only `Markup` is taken as it is, and only this package makes it.
"""

from __future__ import annotations

import html
import json
import unicodedata
from typing import Any

_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_KEPT = {"\n", "\t"}
_VOID = {"meta", "input", "line", "rect", "circle", "path", "use", "br"}


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def visible(text: str) -> str:
    """Return a text in which every character that does not show itself is written as its code point, as "u{1b}".

    Those are control characters (ANSI sequences), marks of direction (bidi), surrogates and unassigned ones.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character in _KEPT or unicodedata.category(character) not in _INVISIBLE
        else f"\\u{{{ord(character):x}}}"
        for character in text
    )


def shown(text: object) -> Markup:
    """Return a value of a record as escaped text."""
    return text if isinstance(text, Markup) else Markup(html.escape(visible(str(text)), quote=True))


def element(name: str, attributes: dict[str, object] | None = None, *children: object) -> Markup:
    """Return an element; attributes that are None or False are left out, True gives the name alone.

    Args:
        name: its name.
        attributes: by name; a trailing underscore is cut, so that `class_` can be written.
        children: texts, which are escaped, or markup.
    """
    parts = [f"<{name}"]
    for key, value in (attributes or {}).items():
        if value is None or value is False:
            continue
        parts.append(f" {key.rstrip('_')}" if value is True else f' {key.rstrip("_")}="{shown(_number(value))}"')
    if name in _VOID and not children:
        return Markup("".join(parts) + ("/>" if name not in ("meta", "input", "br") else ">"))
    inner = "".join(shown(child) for child in children)
    return Markup(f"{''.join(parts)}>{inner}</{name}>")


def join(parts: object) -> Markup:
    """Return markup or texts one after the other."""
    return Markup("".join(shown(part) for part in parts))  # type: ignore[attr-defined]


def json_text(value: Any) -> Markup:
    """Return JSON for a script element: no character of it can end one."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _number(value: object) -> object:
    """Return a coordinate to two decimals: a hundredth of a pixel."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
