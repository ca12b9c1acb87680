"""Figures as lines of a terminal: sparklines, shades, letters and tables. Pure: a figure and a width give text.

A gap is a stroke, NaN a question mark, what was not measured a dash or a space: none is ever drawn as a zero.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from esper_telemetry.views.cell import Cell, Tone, number_text, plain_number
from esper_telemetry.views.figure import Feed, Grid, Heat, Histogram, Lanes, Series, Stack, Strip, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from esper_telemetry.views.figure import Figure, Line
    from esper_telemetry.views.panel import PanelFigures

BLOCKS = "▁▂▃▄▅▆▇█"
SHADES = " ░▒▓█"
GAP, ODD = "/", "?"
_NAME, _LONGEST_NAME = 24, 40
_VALUES = 34
_STYLES = {Tone.GOOD: "green", Tone.WARNING: "yellow", Tone.BAD: "bold red", Tone.MUTED: "dim", Tone.PLAIN: ""}
_GLYPHS = {Tone.GOOD: "✓", Tone.WARNING: "▲", Tone.BAD: "✕", Tone.MUTED: "", Tone.PLAIN: ""}
_HUES = ("cyan", "yellow", "green", "magenta", "blue", "bright_red", "bright_cyan", "white")


def printable(text: str) -> str:
    """Return text of a record without what a terminal would obey or what turns its direction."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def panel_text(shown: PanelFigures, width: int) -> RenderableType:
    """Return a panel for a width of so many columns."""
    parts: list[RenderableType] = [Text(printable(shown.panel.title), style="bold")]
    if shown.absence:
        parts.append(Text(printable(shown.absence), style="dim"))
    parts += [figure_text(figure, width) for figure in shown.figures]
    parts.append(Text())
    return Group(*parts)


def figure_text(figure: Figure, width: int) -> RenderableType:
    """Return a figure for a width of so many columns."""
    return _DRAWN[type(figure)](figure, max(40, width))


def cell_text(cell: Cell) -> Text:
    """Return a cell with its tone as colour and glyph; one without a value is a dash with the reason."""
    if cell.value is None:
        return Text(f"— {cell.state.value.replace('_', ' ')}", style="dim")
    glyph = _GLYPHS[cell.tone]
    return Text(printable(cell.text) + (f" {glyph}" if glyph else ""), style=_STYLES[cell.tone])


def sparkline(line: Line, width: int, low: float, high: float) -> str:
    """Return the last part of a line as blocks, one column for each of its last points."""
    signs: list[str] = []
    for point in line.points:
        if signs and not point.joined:
            signs.append(GAP)
        if not math.isfinite(point.y):
            signs.append(ODD)
        else:
            share = (point.y - low) / (high - low) if high > low else 0.5
            signs.append(BLOCKS[min(len(BLOCKS) - 1, max(0, int(share * len(BLOCKS))))])
    return "".join(signs[-width:])


def shade(value: float | None, low: float, high: float) -> str:
    """Return a value as a shade; a dot where it was not measured."""
    if value is None or not math.isfinite(value):
        return "·"
    share = (value - low) / (high - low) if high > low else 0.0
    return SHADES[min(len(SHADES) - 1, max(0, math.ceil(share * (len(SHADES) - 1))))]


def _series(figure: Series, width: int) -> RenderableType:
    rows = []
    names = [f"{figure.title} {line.name}".strip() if len(figure.lines) > 1 else figure.title for line in figure.lines]
    column = max(_NAME, min(_LONGEST_NAME, width // 4))  # of the width, not of the names: figures stay aligned
    room = max(8, width - column - _VALUES)
    for line, name in zip(figure.lines, names, strict=True):
        finite = [point.y for point in line.points[-room:] if math.isfinite(point.y)]
        low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
        row = Text(_fit(printable(name), column).ljust(column), no_wrap=True)
        row.append(sparkline(line, room, low, high).ljust(room), style=_HUES[line.hue % len(_HUES)])
        latest = number_text(line.points[-1].y, figure.y.unit) if line.points else "—"
        row.append(f" {latest:>12}")
        row.append(f"  {plain_number(low)} … {plain_number(high)}" if finite else "  —", style="dim")
        rows.append(row)
    return Group(*rows)


def _stack(figure: Stack, width: int) -> RenderableType:
    room = max(8, width - _NAME - _VALUES)
    rows = [Text(printable(figure.title), style="italic")]
    sums = [sum(abs(amount) for amount in row if amount is not None) for row in figure.amounts[-room:]]
    for part, name in enumerate(figure.parts):
        amounts = [row[part] for row in figure.amounts[-room:]]
        shares = [None if a is None or not whole else abs(a) / whole for a, whole in zip(amounts, sums, strict=True)]
        row = Text(_fit(f"  {printable(name)}", _NAME).ljust(_NAME))
        row.append("".join(shade(share, 0.0, 1.0) for share in shares).ljust(room), style=_HUES[part % len(_HUES)])
        last = amounts[-1] if amounts else None
        row.append(f" {'—' if last is None else number_text(last, figure.unit):>12}")
        row.append("" if not shares or shares[-1] is None else f"  {100 * shares[-1]:.0f} %", style="dim")
        rows.append(row)
    return Group(*rows)


def _lanes(figure: Lanes, width: int) -> RenderableType:
    room = max(20, width - _NAME)
    places = [at for lane in figure.lanes for one in lane.intervals for at in (one.start, one.end) if at is not None]
    low, high = min(places, default=0.0), max(places, default=1.0)
    span = (high - low) or 1.0
    kinds = dict(figure.kinds)
    hues = {kind: _HUES[at % len(_HUES)] for at, (kind, _) in enumerate(figure.kinds)}
    rows = [Text(printable(figure.title), style="italic")]

    def column(at: float) -> int:
        return min(room - 1, max(0, int((at - low) / span * (room - 1))))

    for lane in figure.lanes:
        row = [(" ", "")] * room
        for one in lane.intervals:
            for at in range(column(one.start), column(high if one.end is None else one.end) + 1):
                row[at] = (kinds.get(one.kind, "?"), hues.get(one.kind, ""))
        for mark in lane.marks:
            row[column(mark.x)] = (mark.glyph, _STYLES[mark.tone])
        for gap in figure.gaps:
            start, end = low if gap.start is None else gap.start, high if gap.end is None else gap.end
            for at in range(column(start), column(end) + 1):
                row[at] = (GAP, "red")
        text = Text(_fit(printable(f"{lane.group} {lane.name}".strip()), _NAME).ljust(_NAME), no_wrap=True)
        for sign, style in row:
            text.append(sign, style=style)
        rows.append(text)
    legend = "  ".join(f"{glyph} {name}" for name, glyph in figure.kinds)
    rows.append(Text(printable(legend), style="dim"))
    return Group(*rows)


def _shades(
    figure: Heat | Histogram, width: int, names: Sequence[str], values: Sequence[Sequence[float | None]], high: float
) -> RenderableType:
    room = max(20, width - _NAME - 10)
    rows = [Text(printable(figure.title), style="italic")]
    for name, line in zip(names, values, strict=True):
        row = Text(_fit(printable(name), _NAME).ljust(_NAME))
        row.append("".join(shade(value, 0.0, high) for value in line[-room:]).ljust(room), style="cyan")
        last = line[-1] if line else None
        row.append(f" {'—' if last is None else plain_number(last)}", style="dim")
        rows.append(row)
    return Group(*rows)


def _heat(figure: Heat, width: int) -> RenderableType:
    names = [f"{group} {row}".strip() for group, row in zip(figure.groups, figure.rows, strict=True)]
    return _shades(figure, width, names, figure.values, figure.high)


def _histogram(figure: Histogram, width: int) -> RenderableType:
    edges = ["-∞", *map(plain_number, figure.edges), "∞"]
    names = [f"{edges[at]} … {edges[at + 1]}" for at in range(len(edges) - 1)]
    columns = [[count / (sum(counts) or 1) for count in counts] for counts in figure.counts]
    values = [[column[at] for column in columns] for at in range(len(names))]
    return _shades(figure, width, names, values, max((max(line, default=0.0) for line in values), default=1.0) or 1.0)


def _table(figure: Table, _: int) -> RenderableType:
    table = RichTable(
        title=Text(printable(figure.title), style="italic"), title_justify="left", box=None, padding=(0, 2, 0, 0)
    )
    for column in figure.columns:
        table.add_column(Text(printable(column.name), style="dim"), justify="right" if column.numeric else "left")
    for row in figure.rows:
        table.add_row(*map(cell_text, row))
    return table


def _strip(figure: Strip, _: int) -> RenderableType:
    line = Text(printable(figure.text), style=_STYLES[figure.tone]) if figure.text else Text()
    for label, cell in figure.items:
        if line:
            line.append("   ")
        line.append(f"{printable(label)} ", style="dim")
        line.append(cell_text(cell))
    return line


def _grid(figure: Grid, _: int) -> RenderableType:
    table = RichTable(box=None, padding=(0, 2, 0, 0), show_header=False)
    for tile in figure.tiles:
        items = Text("   ").join(
            Text(f"{printable(label)} ", style="dim") + cell_text(cell) for label, cell in tile.items
        )
        table.add_row(Text(printable(tile.name)), cell_text(tile.state), items)
    return table


def _feed(figure: Feed, width: int) -> RenderableType:
    rows = [
        f"{row.type} x{row.repeats} " + " ".join(f"{one.name}={one.text}" for one in row.fields) for row in figure.rows
    ]
    return Group(*(Text(_fit(printable(row), width)) for row in rows))


_DRAWN: dict[type, Callable[..., RenderableType]] = {
    Series: _series,
    Stack: _stack,
    Lanes: _lanes,
    Heat: _heat,
    Histogram: _histogram,
    Table: _table,
    Strip: _strip,
    Grid: _grid,
    Feed: _feed,
}


def _fit(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
