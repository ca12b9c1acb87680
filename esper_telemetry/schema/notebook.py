"""A small table of names and values as HTML, for a notebook: what a run or an event is when a cell ends with it.

It is escaped here: a text from a record is text, and a character that does not show itself is written as Python
writes it.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST = 400


def notebook_table(title: str, rows: Iterable[tuple[str, object, str]]) -> str:
    """Return a table with a title.

    Args:
        title: what it is.
        rows: name, value and unit of each row.
    """
    body = "".join(
        f"<tr><th style='text-align:left'>{_text(name)}</th><td style='text-align:left'>{_text(value)}</td>"
        f"<td style='text-align:left'>{_text(unit)}</td></tr>"
        for name, value, unit in rows
    )
    return f"<table><caption style='text-align:left'><b>{_text(title)}</b></caption><tbody>{body}</tbody></table>"


def _text(value: object) -> str:
    text = str(value)
    text = text if len(text) <= _MOST else f"{text[:_MOST]}…"
    if not text.isprintable():
        text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return html.escape(text, quote=True)
