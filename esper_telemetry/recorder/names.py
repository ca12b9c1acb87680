"""Names that a trainer makes up (of values, texts, phases, artifacts) as text that a record can hold.

A name is never worth an event: what UTF-8 cannot hold is escaped. Only plain values are looked at, so no tensor is
read and no object's address becomes a name.
"""

from __future__ import annotations

import enum
from typing import Any

from esper_telemetry.errors import SchemaError


def plain_name(what: str, value: Any) -> str:
    """Return `value` as a name.

    Args:
        what: what is named, for the error.
        value: a text, a number or a member of an enum.

    Raises:
        SchemaError: it is something else.
    """
    if isinstance(value, enum.Enum):
        value = value.value
    kind = type(value)
    if kind is str or isinstance(value, str):
        return writable(value)
    if kind in (int, float, bool):
        return str(value)
    raise SchemaError(f"{what} was named by a {kind.__module__}.{kind.__qualname__}; pass a text")


def writable(text: str) -> str:
    """Return `text` with lone surrogates (of undecodable file names) escaped: UTF-8 cannot hold them."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
