"""What a panel shows, as plain values: a small vocabulary of figures that every view draws in its own way.

Figures know nothing of HTML, SVG or a terminal, and a view knows nothing of events. All of them are frozen
dataclasses of plain values; `document` turns one into JSON, in which NaN and infinities are texts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any, NamedTuple

from esper_telemetry.views.cell import Cell, Tone


class Point(NamedTuple):
    """A measurement of a line: always one of the record, never an average.

    Attributes:
        x: position, in the unit of the axis.
        y: value; NaN and infinities are measurements.
        seq: sequence number of its event.
        joined: a line may be drawn from the point before to this one: no number between them is missing, and no
            measurement was skipped.
    """

    x: float
    y: float
    seq: int
    joined: bool


@dataclass(frozen=True, slots=True)
class Axis:
    """What one axis counts.

    Attributes:
        label: what it is, e.g. "batch".
        unit: UCUM unit, or "".
        low: smallest value to show; None leaves it to the data.
        high: largest value to show; None likewise.
        log: a logarithmic scale is the better one.
        times: values are seconds since 1970 UTC.
    """

    label: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    log: bool = False
    times: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One series of measurements.

    Attributes:
        name: what a legend calls it.
        points: in the order of the record; decimated to the smallest and largest of each bin where there are many.
        count: measurements it has, drawn or not.
        hue: number of its colour; lines of one subject in several figures share it.
        dashed: it is a reference, such as the control of a comparison.
        each: measurements that a bin of the decimation covers; 1: every one is drawn.
        stream: key of the stream its sequence numbers count in, as "rank 0" or "rank 0, attempt 2".
    """

    name: str
    points: tuple[Point, ...]
    count: int
    hue: int = 0
    dashed: bool = False
    each: int = 1
    stream: str = ""


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of the y axis with a meaning.

    Attributes:
        low: lower end; None is open.
        high: upper end; None is open.
        tone: how values in it are judged.
        text: what it means.
    """

    low: float | None
    high: float | None
    tone: Tone
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """An event at a position of the x axis: a rollback, a skipped update.

    Attributes:
        x: position.
        glyph: what is drawn: one of GLYPHS.
        text: what happened.
        seq: sequence number of the event.
        tone: how it is judged.
    """

    x: float
    glyph: str
    text: str
    seq: int
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of the x axis in which sequence numbers are missing; it is hatched, and no line crosses it.

    Attributes:
        start: position of the last event before; None at the beginning.
        end: position of the first event after; None where nothing came after.
        missing: numbers that have no event.
        text: what is known of them.
    """

    start: float | None
    end: float | None
    missing: int
    text: str


@dataclass(frozen=True, slots=True)
class Series:
    """Lines over one x axis."""

    title: str
    x: Axis
    y: Axis
    lines: tuple[Line, ...]
    bands: tuple[Band, ...] = ()
    marks: tuple[Mark, ...] = ()
    gaps: tuple[Gap, ...] = ()
    explanation: str = ""
    latest: Cell | None = None


@dataclass(frozen=True, slots=True)
class Stack:
    """Amounts of several parts at each position: stacked bars, signed, or shares of the whole.

    Attributes:
        title: what is shown.
        x: its axis.
        unit: unit of the amounts.
        parts: names of the parts; every part is there at every position.
        at: positions.
        amounts: one row for each position, one amount for each part; None was not measured.
        hatched: part of each amount that is drawn hatched (an operation that failed); empty where that has no meaning.
        share: amounts are drawn as shares of their sum.
        seqs: sequence number of the event of each position.
        gaps: where numbers are missing.
        explanation: how to read it.
        labels: names of the positions, where they are no numbers.
    """

    title: str
    x: Axis
    unit: str
    parts: tuple[str, ...]
    at: tuple[float, ...]
    amounts: tuple[tuple[float | None, ...], ...]
    hatched: tuple[tuple[float | None, ...], ...] = ()
    share: bool = False
    seqs: tuple[int, ...] = ()
    gaps: tuple[Gap, ...] = ()
    explanation: str = ""
    labels: tuple[str, ...] = ()


class Interval(NamedTuple):
    """A stretch of a lane.

    Attributes:
        start: where it begins.
        end: where it ends; None: it has not ended.
        kind: what it is, one of the kinds of its figure.
        heights: (position, height from 0 to 1) in order; empty: the height was not measured.
        text: what a tooltip tells.
        seq: sequence number of the event that began it.
    """

    start: float
    end: float | None
    kind: str
    heights: tuple[tuple[float, float], ...]
    text: str
    seq: int


@dataclass(frozen=True, slots=True)
class Lane:
    """One row of lanes."""

    name: str
    group: str
    intervals: tuple[Interval, ...]
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Lanes:
    """Intervals by row over one x axis.

    Attributes:
        kinds: every kind of interval with the glyph that tells it apart besides its colour.
        glyphs: every glyph of a mark with its meaning.
        hidden: lanes that have no room; they are counted, not dropped in silence.
    """

    title: str
    x: Axis
    kinds: tuple[tuple[str, str], ...]
    glyphs: tuple[tuple[str, str], ...]
    lanes: tuple[Lane, ...]
    gaps: tuple[Gap, ...] = ()
    explanation: str = ""
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Heat:
    """A table of numbers as colours.

    Attributes:
        rows: their names.
        groups: group of each row, as the head of an option.
        at: positions of the columns.
        values: one tuple for each row; None was not measured.
        counts: what each value is a ratio of, as (part, whole), for the tooltip; empty where it is none.
        low: value of the faintest colour.
        high: value of the strongest colour.
    """

    title: str
    x: Axis
    unit: str
    rows: tuple[str, ...]
    groups: tuple[str, ...]
    at: tuple[float, ...]
    values: tuple[tuple[float | None, ...], ...]
    counts: tuple[tuple[tuple[int, int] | None, ...], ...] = ()
    low: float = 0.0
    high: float = 1.0
    seqs: tuple[int, ...] = ()
    gaps: tuple[Gap, ...] = ()
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of a table.

    Attributes:
        name: its head.
        unit: unit of its numbers.
        text: what it means, for a tooltip.
        numeric: it holds numbers, which are set to the right.
    """

    name: str
    unit: str = ""
    text: str = ""
    numeric: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells.

    Attributes:
        title: what is shown.
        columns: their heads.
        rows: cells of each row.
        seqs: sequence number of the event of each row; None where it comes from many.
        hidden: rows that are left out.
        explanation: how to read it.
    """

    title: str
    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[Cell, ...], ...]
    seqs: tuple[int | None, ...] = ()
    hidden: int = 0
    explanation: str = ""


class Item(NamedTuple):
    """A labelled value of a strip or a tile."""

    label: str
    cell: Cell


@dataclass(frozen=True, slots=True)
class Strip:
    """Labelled values in one row of fixed height; each item is always there, measured or not."""

    title: str
    items: tuple[Item, ...]
    tone: Tone = Tone.PLAIN
    text: str = ""


@dataclass(frozen=True, slots=True)
class Tile:
    """One cell of a grid: a name, a state and values."""

    name: str
    state: Cell
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """Tiles in rows, one for each environment or slot."""

    title: str
    tiles: tuple[Tile, ...]
    explanation: str = ""
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by bucket at several positions: the first and last bucket are open.

    Attributes:
        edges: rising; bucket i holds edges[i-1] <= value < edges[i].
        at: positions.
        counts: one tuple for each position, one more than edges.
        nan: values at each position that were NaN; None where that was not counted.
    """

    title: str
    x: Axis
    unit: str
    edges: tuple[float, ...]
    at: tuple[float, ...]
    counts: tuple[tuple[int, ...], ...]
    nan: tuple[int | None, ...] = ()
    seqs: tuple[int, ...] = ()
    gaps: tuple[Gap, ...] = ()
    explanation: str = ""


class FeedField(NamedTuple):
    """A field of an event in a feed: name, text of the value, unit."""

    name: str
    text: str
    unit: str


class FeedRow(NamedTuple):
    """An event of a feed.

    Attributes:
        seq: its number.
        time_ns: nanoseconds since 1970 UTC.
        type: short name.
        repeats: events of its type and environment in a row that it represents, itself included.
        context: where it happened.
        fields: what it carries.
        tone: how it is judged.
        stream: key of its stream.
    """

    seq: int
    time_ns: int
    type: str
    repeats: int
    context: tuple[FeedField, ...]
    fields: tuple[FeedField, ...]
    tone: Tone
    stream: str


@dataclass(frozen=True, slots=True)
class Feed:
    """Events as they came.

    Attributes:
        rows: newest last.
        total: events there are; rows are the last of those that are kept.
        types: each type with the number of its events.
        meanings: by type: its comment, and the comment of each field.
    """

    title: str
    rows: tuple[FeedRow, ...]
    total: int
    types: tuple[tuple[str, int], ...]
    meanings: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Footer:
    """Where the numbers of a panel come from.

    Attributes:
        events: events that its fold has read.
        types: their types with the number of each.
        first_seq: smallest sequence number among them; None without any.
        last_seq: largest.
        last_time_ns: time of the last one, nanoseconds since 1970 UTC.
    """

    events: int
    types: tuple[tuple[str, int], ...]
    first_seq: int | None
    last_seq: int | None
    last_time_ns: int | None


Figure = Series | Stack | Lanes | Heat | Table | Strip | Grid | Histogram | Feed

GLYPHS = {
    "germinated": "▲",
    "culled": "✕",
    "fossilized": "◆",
    "rollback": "↩",
    "gate": "⊘",
    "panic": "!",
    "skipped": "∅",
    "anomaly": "!",
    "nan": "?",
}
"""Glyph of each kind of mark."""


def document(figure: object) -> Any:
    """Return a figure as values for JSON: objects with their class as "figure", NaN and infinities as texts."""
    if isinstance(figure, Enum):
        return figure.value
    if isinstance(figure, float) and not math.isfinite(figure):
        return "NaN" if math.isnan(figure) else ("Infinity" if figure > 0 else "-Infinity")
    if is_dataclass(figure) and not isinstance(figure, type):
        values = {field.name: document(getattr(figure, field.name)) for field in fields(figure)}
        return values if isinstance(figure, Cell) else {"figure": type(figure).__name__, **values}
    if isinstance(figure, (tuple, list)):
        return [document(item) for item in figure]
    if isinstance(figure, dict):
        return {str(key): document(value) for key, value in figure.items()}
    return figure
