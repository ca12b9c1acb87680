"""One shown value and where it comes from: measured, or one of four reasons why there is none.

A view never prints a default. A cell that was not measured is shown as a dash, and its reason is one hover or one
key away. NaN and infinities are measurements and are printed as such.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

Value = float | int | str | bool


class CellState(StrEnum):
    """Whether a value is there, and why not where it is not."""

    MEASURED = "measured"
    NOT_YET = "not_yet"
    NOT_RECORDED = "not_recorded"
    UNAVAILABLE = "unavailable"
    LOST = "lost"


class Tone(StrEnum):
    """How a value is judged; a view shows it by colour and by a glyph, never by colour alone."""

    PLAIN = ""
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    MUTED = "muted"


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of a figure.

    Attributes:
        state: whether it was measured.
        value: the measurement; None in every other state.
        unit: UCUM unit of a number, or "".
        reason: why there is no value, or what a measured one means, for a tooltip.
        tone: how it is judged.
        seq: sequence number of the event it comes from; None where it comes from many.
    """

    state: CellState
    value: Value | None = None
    unit: str = ""
    reason: str = ""
    tone: Tone = Tone.PLAIN
    seq: int | None = None

    @property
    def text(self) -> str:
        """The value as text; "—" where there is none."""
        return "—" if self.value is None else number_text(self.value, self.unit)


def measured(
    value: Value | None, unit: str = "", *, reason: str = "", tone: Tone = Tone.PLAIN, seq: int | None = None
) -> Cell:
    """Return the cell of a value; None is a field that its event left unset, and was not measured."""
    if value is None:
        return unavailable(reason or "the event left the field unset: it was not measured", seq=seq)
    return Cell(CellState.MEASURED, value, unit, reason, tone, seq)


def not_yet(reason: str = "no event has carried it so far") -> Cell:
    """Return the cell of a value that may still come."""
    return Cell(CellState.NOT_YET, reason=reason)


def not_recorded(reason: str) -> Cell:
    """Return the cell of a value that the level of the run leaves out."""
    return Cell(CellState.NOT_RECORDED, reason=reason)


def unavailable(reason: str, *, seq: int | None = None) -> Cell:
    """Return the cell of a value that could not be measured, or was not."""
    return Cell(CellState.UNAVAILABLE, reason=reason, seq=seq)


def lost(reason: str) -> Cell:
    """Return the cell of a value whose event was lost."""
    return Cell(CellState.LOST, reason=reason)


_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_STEP = 1024
_MINUS = "\N{MINUS SIGN}"
_THOUSAND = 1000
_SHOWN_UNITS = {"1": "", "%": "%", "ms": "ms", "s": "s", "us": "µs", "ns": "ns", "nat": "nat", "Cel": "°C", "W": "W"}


def unit_text(unit: str) -> str:
    """Return a UCUM unit as people read it: "{step}" is "step", "1" is nothing."""
    if unit in _SHOWN_UNITS:
        return _SHOWN_UNITS[unit]
    return unit.replace("{", "").replace("}", "")


def number_text(value: Value, unit: str = "") -> str:
    """Return a value with its unit, to four significant digits: (40815, "By") is "39.9 KiB"."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("∞" if value > 0 else f"{_MINUS}∞")
    if unit == "By":
        return bytes_text(value)
    if unit == "ms" and abs(value) >= _THOUSAND:
        value, unit = value / _THOUSAND, "s"
    text = plain_number(value)
    shown = unit_text(unit)
    return f"{text} {shown}" if shown else text


def plain_number(value: float) -> str:
    """Return a number to four significant digits, with a true minus and thin groups of thousands."""
    if not math.isfinite(value):
        return number_text(value)
    size = abs(value)
    if isinstance(value, int) or (value == int(value) and size < 1e7):  # noqa: PLR2004 - beyond, digits do not help
        text = f"{int(value):,}" if size < 1e12 else f"{value:.3e}"  # noqa: PLR2004 - likewise
    elif 1e-3 <= size < 1e6:  # noqa: PLR2004 - where a person reads decimals
        digits = max(0, 3 - math.floor(math.log10(size)))
        text = f"{value:,.{digits}f}"
    else:
        text = f"{value:.3g}"
    return text.replace("-", _MINUS)


def bytes_text(count: float) -> str:
    """Return a number of bytes with a binary prefix."""
    for prefix in _BINARY:
        if abs(count) < _STEP or prefix == _BINARY[-1]:
            break
        count /= _STEP
    return f"{count:,.0f} {prefix}" if prefix == "B" else f"{count:,.1f} {prefix}"
