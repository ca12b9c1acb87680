"""The data of a panel as CSV: one row for each number that its figures hold, whatever their kind.

The columns are the same for all figures, so that files of several panels can be joined. A cell that a spreadsheet would
take for a formula is quoted as text.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    Row = tuple[Any, ...]

HEAD = ("panel", "figure", "title", "series", "x", "value", "unit", "state", "seq")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def panel_csv(panel: dict[str, Any]) -> str:
    """Return a panel (as `runfold.panel_document` gives it) as CSV with a head."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n").writerow
    write(HEAD)
    for figure in panel["figures"]:
        for row in _ROWS[figure["figure"]](figure):
            write([_safe(value) for value in (panel["id"], figure["figure"], figure["title"], *row)])
    return out.getvalue()


def _series(figure: dict[str, Any]) -> Iterator[Row]:
    unit = figure["y"]["unit"]
    for line in figure["lines"]:
        for x, y, seq, _ in line["points"]:
            yield line["name"], x, y, unit, "measured", seq


def _stack(figure: dict[str, Any]) -> Iterator[Row]:
    for at, x in enumerate(figure["at"]):
        for part, amount in zip(figure["parts"], figure["amounts"][at], strict=True):
            yield part, x, amount, figure["unit"], _state(amount), _seq(figure, at)


def _lanes(figure: dict[str, Any]) -> Iterator[Row]:
    for lane in figure["lanes"]:
        name = " ".join(filter(None, (lane["group"], lane["name"])))
        for start, end, kind, _, _, seq in lane["intervals"]:
            yield name, start, kind, "", "began", seq
            if end is not None:
                yield name, end, kind, "", "ended", seq
        for mark in lane["marks"]:
            yield name, mark["x"], mark["text"], "", "mark", mark["seq"]


def _heat(figure: dict[str, Any]) -> Iterator[Row]:
    for name, group, values in zip(figure["rows"], figure["groups"], figure["values"], strict=True):
        for at, value in enumerate(values):
            yield f"{group} {name}".strip(), figure["at"][at], value, figure["unit"], _state(value), _seq(figure, at)


def _table(figure: dict[str, Any]) -> Iterator[Row]:
    for at, row in enumerate(figure["rows"]):
        for column, cell in zip(figure["columns"], row, strict=True):
            yield column["name"], at, cell["value"], cell["unit"] or column["unit"], cell["state"], cell["seq"]


def _strip(figure: dict[str, Any]) -> Iterator[Row]:
    for label, cell in figure["items"]:
        yield label, "", cell["value"], cell["unit"], cell["state"], cell["seq"]


def _grid(figure: dict[str, Any]) -> Iterator[Row]:
    for tile in figure["tiles"]:
        yield tile["name"], "", tile["state"]["value"], "", tile["state"]["state"], tile["state"]["seq"]
        for label, cell in tile["items"]:
            yield f"{tile['name']} {label}", "", cell["value"], cell["unit"], cell["state"], cell["seq"]


def _histogram(figure: dict[str, Any]) -> Iterator[Row]:
    edges = ["-inf", *figure["edges"], "inf"]
    for at, x in enumerate(figure["at"]):
        for bucket, count in enumerate(figure["counts"][at]):
            yield f"[{edges[bucket]}, {edges[bucket + 1]})", x, count, "", "measured", _seq(figure, at)


def _feed(figure: dict[str, Any]) -> Iterator[Row]:
    for row in figure["rows"]:
        seq, time_ns, kind, repeats = row[:4]
        yield kind, time_ns / 1e9, repeats, "", "event", seq


_ROWS = {
    "Series": _series,
    "Stack": _stack,
    "Lanes": _lanes,
    "Heat": _heat,
    "Table": _table,
    "Strip": _strip,
    "Grid": _grid,
    "Histogram": _histogram,
    "Feed": _feed,
}


def _seq(figure: dict[str, Any], at: int) -> Any:
    return figure["seqs"][at] if at < len(figure["seqs"]) else None


def _state(value: object) -> str:
    return "unavailable" if value is None else "measured"


def _safe(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) and not _is_number(value) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
