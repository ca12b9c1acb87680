"""What every verb prints in the same way: lines, warnings, failures, tables and JSON.

Texts come from records, which strangers may have written: control characters are escaped in all text output.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import click

from esper_telemetry.schema import json_ready

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FINE, FAILED, WRONG, INCOMPLETE, PROBLEM = 0, 1, 2, 3, 4
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024.0
_LEAST_WIDTH = 8  # of a column of text that is cut to fit


def colored(stream: Any = None) -> bool:
    """Tell whether `stream` (stdout if None) is a terminal that wants colours (https://no-color.org)."""
    return bool((stream or sys.stdout).isatty()) and not os.environ.get("NO_COLOR")


def printable(text: str) -> str:
    r"""Return a text from a record without what a terminal would obey: control and format characters are escaped.

    A record may come from a stranger: "\x1b[31m" is shown as the six characters that Python writes for it, a newline
    as a backslash and an n, so that it can neither colour a terminal nor forge a line.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def print_text(text: str = "") -> None:
    """Print lines on stdout; within each, control characters are escaped."""
    print(_lines(text))


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def warn(text: str) -> None:
    """State on stderr what the data on stdout lacks."""
    click.secho(f"warning: {_lines(text)}", fg="yellow" if colored(sys.stderr) else None, err=True)


def note(text: str) -> None:
    """State something on stderr."""
    click.echo(_lines(text), err=True)


def fail(text: str) -> None:
    """State on stderr why the command failed."""
    click.secho(f"error: {_lines(text)}", fg="red" if colored(sys.stderr) else None, err=True)


def print_json(value: Any) -> None:
    """Print one JSON document: indented for a terminal, one line for a pipe."""
    terminal = sys.stdout.isatty()
    separators = None if terminal else (",", ":")
    print(json.dumps(json_ready(value), ensure_ascii=False, indent=2 if terminal else None, separators=separators))


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]], *, indent: str = "") -> None:
    """Print rows under a head in columns; numbers stand to the right, and None is shown as a dash."""
    table = [[_cell(value) for value in row] for row in rows]
    numeric = [bool(table) and all(_numeric(row[at]) for row in table) for at in range(len(head))]
    widths = [max(len(row[at]) for row in [list(head), *table]) for at in range(len(head))]
    _narrow(widths, numeric, available_width() - len(indent))

    def line(cells: Sequence[str]) -> str:
        fitting = [_cut(cell, width) for cell, width in zip(cells, widths, strict=True)]
        placed = [c.rjust(w) if right else c.ljust(w) for c, w, right in zip(fitting, widths, numeric, strict=True)]
        return (indent + "  ".join(placed)).rstrip()

    click.secho(line(head), bold=colored())
    for row in table:
        print(line(row))


def available_width() -> int:
    """Return the columns that text may take: those of the terminal, or COLUMNS; without either there is no limit."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit():
        return shutil.get_terminal_size().columns
    return sys.maxsize


def _narrow(widths: list[int], numeric: Sequence[bool], available: int) -> None:
    """Make columns of text narrower, the widest first, until the table fits or none can give more; numbers stay."""
    texts = [at for at, right in enumerate(numeric) if not right]
    while texts and sum(widths) + 2 * (len(widths) - 1) > available:
        widest = max(texts, key=widths.__getitem__)
        if widths[widest] <= _LEAST_WIDTH:
            return
        widths[widest] -= 1


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else cell[: width - 1] + "…"


def size(count: float) -> str:
    """Return bytes as people read them: 40815 → "39.9 KiB"."""
    for unit in _UNITS:
        if count < _STEP or unit == _UNITS[-1]:
            break
        count /= _STEP
    return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"


def duration(seconds: float) -> str:
    """Return a length of time as people read it: 3725.5 → "1 h 02 min 05 s"."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min {rest:02} s" if hours else f"{minutes} min {rest:02} s"


def plural(count: int, what: str) -> str:
    """Return a count with its noun: (1, "event") → "1 event", (2, "event") → "2 events"."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _cell(value: object) -> str:
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else printable(str(value))


def _numeric(cell: str) -> bool:
    return cell[:1].isdigit() or cell[:1] in "-+—" or cell in ("nan", "inf")
