"""Text of the user's as protobuf takes it: valid UTF-8, of a bounded length, and always had.

A path may hold bytes that are no UTF-8, and an object may raise when it is asked for its text. Neither is worth an
event, so whatever comes in, text goes out. Nothing else is asked of a value than its `str()`.
"""

from __future__ import annotations

from typing import Any

_MORE = "…"


def utf8_text(text: str, limit: int | None = None) -> str:
    r"""Return `text` without lone surrogates, and with at most `limit` bytes of UTF-8.

    Bytes that a path brought in appear as Python writes them ("caf\xe9"); what was cut off is marked by "…".
    """
    text = str.__str__(text)  # a subclass may have a mind of its own
    raw = _encoded(text if limit is None else text[: limit + 1])
    if limit is None or len(raw) <= limit:
        return raw.decode()
    return raw[: max(0, limit - len(_MORE.encode()))].decode(errors="ignore") + _MORE


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        pass
    try:
        return text.encode(errors="surrogateescape").decode(errors="backslashreplace").encode()
    except UnicodeEncodeError:  # half of a pair, which encodes no byte
        return text.encode(errors="backslashreplace")


def text_of(value: Any, limit: int) -> str:
    """Return `str(value)` as `utf8_text`, or what that raised, in angle brackets."""
    if type(value) is str:  # nothing of the user's runs: what is raised here came from outside
        return utf8_text(value, limit)
    try:
        text = str(value)
    except Exception as error:  # noqa: BLE001 - the text is the user's code
        return f"<its text could not be had: {type_name(type(error))}>"
    return utf8_text(text, limit)


def type_name(cls: type) -> str:
    """Return the name of a class, without asking a metaclass."""
    return utf8_text(type.__dict__["__name__"].__get__(cls), 256)


def qualified_name(cls: type) -> str:
    """Return module and qualified name of a class, of a built-in its name alone; neither can fail."""
    module = type.__dict__["__module__"].__get__(cls)
    name = utf8_text(type.__dict__["__qualname__"].__get__(cls), 256)
    return name if not isinstance(module, str) or module == "builtins" else f"{utf8_text(module, 256)}.{name}"
