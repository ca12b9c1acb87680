"""Tables, strips, grids and feeds as HTML; a cell without a measurement is a dash with its reason."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from esper_telemetry.report.escaping import Markup, element, join
from esper_telemetry.views.cell import Cell, CellState, Tone, unit_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.views.figure import Feed, FeedField, FeedRow, Footer, Grid, Item, Strip, Table, Tile

GLYPHS = {Tone.GOOD: "●", Tone.WARNING: "▲", Tone.BAD: "■", Tone.PLAIN: "", Tone.MUTED: ""}
"""Glyph of each tone: a judgement is never told by colour alone."""

STATES = {
    CellState.NOT_YET: "not yet",
    CellState.NOT_RECORDED: "not recorded at this level",
    CellState.UNAVAILABLE: "unavailable",
    CellState.LOST: "lost",
}
_NANOS = 1_000_000_000
_FEW = 4


def column_decimals(cells: Sequence[Cell]) -> int | None:
    """Return how many decimals the numbers of a column share, so that their points align.

    None leaves each number to itself: where they are whole, or so different in size that a small one would become 0.
    """
    values = [cell.value for cell in cells if cell.unit != "By"]
    numbers = [abs(one) for one in values if isinstance(one, float) and math.isfinite(one)]
    if not numbers or all(one == int(one) for one in numbers):
        return None
    places = max(0, min(4, 3 - math.floor(math.log10(max(numbers)))))
    return places if all(round(one, places) or not one for one in numbers) else None


def cell_text(cell: Cell, unit: str = "", decimals: int | None = None) -> Markup:
    """Return the inside of a cell.

    Args:
        cell: what to show.
        unit: unit that a head shows already, and the cell does not repeat.
        decimals: decimals that the numbers of its column share.
    """
    if cell.value is None:
        reason = f"{STATES.get(cell.state, '')}: {cell.reason}".strip(": ")
        return element("abbr", {"class": f"none {cell.state}", "title": reason}, "—")
    text = cell.text
    same_unit = cell.unit in ("", "1") or cell.unit == unit
    if decimals is not None and same_unit and isinstance(cell.value, float) and math.isfinite(cell.value):
        text = f"{cell.value:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")
    elif unit and cell.unit == unit and unit != "By":
        suffix = f" {unit_text(unit)}"
        text = text.removesuffix(suffix) if unit_text(unit) else text
    glyph = GLYPHS[cell.tone]
    mark = join([element("span", {"class": "glyph", "aria-hidden": "true"}, glyph), " "]) if glyph else ""
    if cell.reason:
        return element("span", {"class": cell.tone or None, "title": cell.reason}, mark, text)
    return element("span", {"class": cell.tone}, mark, text) if cell.tone else join([mark, text])


def table(figure: Table) -> Markup:
    """Return a table whose heads sort it."""
    heads = [
        element(
            "th",
            {"scope": "col", "class": "number" if column.numeric else None, "title": column.text or None},
            element("button", {"type": "button", "class": "sort"}, _head(column.name, column.unit)),
        )
        for column in figure.columns
    ]
    decimals = [column_decimals(cells) for cells in zip(*figure.rows, strict=True)] or [None] * len(figure.columns)
    rows = []
    for at, cells in enumerate(figure.rows):
        seq = figure.seqs[at] if figure.seqs else None
        boxes = [
            element(
                "td",
                {"class": "number" if column.numeric else None, "data-v": _sorted_by(cell)},
                cell_text(cell, column.unit, places if column.numeric else None),
            )
            for column, cell, places in zip(figure.columns, cells, decimals, strict=True)
        ]
        rows.append(element("tr", {"data-seq": seq}, *boxes))
    body = element(
        "table", {"class": "data"}, element("thead", {}, element("tr", {}, *heads)), element("tbody", {}, *rows)
    )
    hidden = f"{figure.hidden:,} more rows are not shown." if figure.hidden > 0 else ""
    return join([element("div", {"class": "scroll", "tabindex": "0"}, body), note(f"{figure.explanation} {hidden}")])


def strip(figure: Strip) -> Markup:
    """Return labelled values in a row."""
    glyph = GLYPHS[figure.tone]
    headline = figure.text
    head = (
        element(
            "p",
            {"class": f"headline {figure.tone}"},
            element("span", {"class": "glyph", "aria-hidden": "true"}, glyph),
            " ",
            headline,
        )
        if headline
        else ""
    )
    style = "strip few" if len(figure.items) <= _FEW else "strip"
    return join([head, element("dl", {"class": style}, *(_item(item) for item in figure.items))])


def grid(figure: Grid) -> Markup:
    """Return tiles."""
    hidden = f"{figure.hidden:,} more are not shown." if figure.hidden > 0 else ""
    tiles = element("div", {"class": "tiles"}, *(_tile(one) for one in figure.tiles))
    return join([tiles, note(f"{figure.explanation} {hidden}")])


def feed(figure: Feed) -> Markup:
    """Return the events as a table, the newest first."""
    rows = [_feed_row(row) for row in reversed(figure.rows)]
    heads = [element("th", {"scope": "col"}, name) for name in ("#", "time (UTC)", "type", "where", "what")]
    body = element(
        "table",
        {"class": "data feed"},
        element("thead", {}, element("tr", {}, *heads)),
        element("tbody", {}, *rows),
    )
    tools = element(
        "p",
        {"class": "tools"},
        element(
            "input",
            {"class": "filter", "type": "search", "aria-label": "Filter", "placeholder": "Filter: type or text"},
        ),
        " ",
        element("output", {}, ""),
    )
    shown = sum(row.repeats for row in figure.rows)
    older = (
        f"The last {shown:,} of {figure.total:,} events; the record has all of them." if shown < figure.total else ""
    )
    return join([tools, element("div", {"class": "scroll tall", "tabindex": "0"}, body), note(older)])


def footer_text(footer: Footer) -> str:
    """Return where the numbers of a panel come from."""
    if footer.first_seq is None or footer.last_seq is None or footer.last_time_ns is None:
        return "from 0 events"
    types = ", ".join(name for name, _ in footer.types[:4])
    if len(footer.types) > 4:  # noqa: PLR2004 - as many names as fit into a line
        types += f" and {len(footer.types) - 4} more types"
    events = "1 event" if footer.events == 1 else f"{footer.events:,} events"
    numbers = f"sequence numbers {footer.first_seq:,} to {footer.last_seq:,}"
    return f"from {events} of {types}; {numbers}; last at {clock(footer.last_time_ns)} UTC"


def clock(time_ns: int, *, date: bool = False) -> str:
    """Return a time of a record in UTC."""
    moment = datetime.fromtimestamp(time_ns // _NANOS, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}" if date else f"{moment:%H:%M:%S}.{time_ns % _NANOS // 1_000_000:03d}"


def note(text: str) -> Markup:
    """Return a remark below a figure; nothing for an empty one."""
    text = text.strip()
    return element("p", {"class": "note"}, text) if text else Markup("")


def _head(name: str, unit: str) -> Markup:
    text = unit_text(unit)
    return join([name, element("span", {"class": "unit"}, f" {text}") if text and unit != "By" else ""])


def _sorted_by(cell: Cell) -> str:
    if cell.value is None:
        return ""
    return str(cell.value)[:80]


def _item(item: Item) -> Markup:
    return element(
        "div",
        {"class": "item", "data-seq": item.cell.seq},
        element("dt", {}, item.label),
        element("dd", {}, cell_text(item.cell)),
    )


def _tile(tile: Tile) -> Markup:
    head = element("p", {"class": "name"}, tile.name, " ", element("small", {}, cell_text(tile.state)))
    return element(
        "div", {"class": f"tile on-{tile.state.tone or 'plain'}"}, head, element("dl", {}, *map(_item, tile.items))
    )


def _feed_row(row: FeedRow) -> Markup:
    times = element("small", {}, f" \N{MULTIPLICATION SIGN}{row.repeats}") if row.repeats > 1 else ""
    where = _fields([field for field in row.context if field.name != "episodes_completed"])
    stream = f"{row.stream} " if row.stream else ""
    return element(
        "tr",
        {"data-seq": row.seq, "data-type": row.type},
        element("td", {"class": "number"}, f"{row.seq:,}"),
        element("td", {"class": "number"}, clock(row.time_ns)),
        element("td", {"class": row.tone or None}, row.type, times),
        element("td", {"class": "where"}, stream, where),
        element("td", {"class": "what"}, _fields(row.fields)),
    )


def _fields(fields: Sequence[FeedField]) -> Markup:
    return join(
        element("span", {"class": "field"}, element("span", {"class": "name"}, field.name), " ", field.text, " ")
        for field in fields
    )
