"""Names and texts that a trainer makes up: what a name may be, and `run.log_text(...)`.

Only plain values are taken: the text of an object could be an address, and that of a tensor makes the host wait. A name
is never worth an event: what UTF-8 cannot hold is escaped. A text that is too long for an event loses its end.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import SchemaError
from esper_telemetry.schema import event_type
from esper_telemetry.v1.logged_pb2 import TextLogged

if TYPE_CHECKING:
    from esper_telemetry.recorder.core import Core
    from esper_telemetry.recorder.emitter import Emitter

# Half of what an event may take; 60,000 words.
MAX_TEXT_BYTES = 256 * 1024


def log_text(core: Core, emitter: Emitter, name: Any, text: Any, mime: str | None) -> None:
    """Record a text.

    Args:
        core: of the run; it counts what is refused.
        emitter: has the context.
        name: its name.
        text: the text.
        mime: what it is, such as "text/markdown"; None: plain.

    Raises:
        SchemaError: only with strict=True, when name or text is none.
    """
    if not core.wants(event_type(TextLogged)):
        return
    try:
        called = plain_name("a text", name)
        if not isinstance(text, str):
            kind = f"{type(text).__module__}.{type(text).__qualname__}"
            raise SchemaError(f"text {called!r} was given a {kind}; pass a str")  # noqa: TRY301 - counted like the name
    except SchemaError as error:
        core.reject(TextLogged.DESCRIPTOR.full_name, error)
        return
    emit_text(emitter, called, text, mime)


def emit_text(emitter: Emitter, name: str, text: str, mime: str | None = None) -> None:
    """Emit a TextLogged, with what was cut off counted in it."""
    shown = writable(text)
    encoded = shown.encode()
    omitted = None
    if len(encoded) > MAX_TEXT_BYTES:
        shown = encoded[:MAX_TEXT_BYTES].decode("utf-8", "ignore")  # a character cut in two goes as a whole
        omitted = len(encoded) - len(shown.encode())
    emitter.emit(TextLogged, name=name, text=shown, mime=mime, omitted_bytes=omitted)


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
