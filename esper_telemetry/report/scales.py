"""From values to pixels, and which values an axis names.

Steps are 1, 2 or 5 times a power of ten; of bytes powers of two; of times the units of a clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from esper_telemetry.views.cell import bytes_text

_CLOCK = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
_MINUS = "\N{MINUS SIGN}"
_KIB = 1024.0
_DAY = 86400


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear scale.

    Attributes:
        low: value at `start`.
        high: value at `end`; greater than low.
        start: pixel of low.
        end: pixel of high.
    """

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the pixel of a value; what lies outside is placed on the edge."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + max(0.0, min(1.0, share)) * (self.end - self.start)


@dataclass(frozen=True, slots=True)
class Tick:
    """A named value of an axis."""

    value: float
    text: str


def nice_step(span: float, count: int) -> float:
    """Return the step of 1, 2 or 5 times a power of ten that divides a span into about `count` parts."""
    raw = span / max(1, count)
    power = 10.0 ** math.floor(math.log10(raw))
    return min((step * power for step in (1, 2, 5, 10)), key=lambda step: abs(math.log(step / raw)))


def spread(low: float, high: float) -> tuple[float, float]:
    """Return bounds that are apart, around values that may be one."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, 1.0
    if high > low:
        return low, high
    half = abs(low) * 0.5 or 0.5
    return low - half, low + half


def nice_bounds(low: float, high: float, count: int, *, fixed_low: bool, fixed_high: bool) -> tuple[float, float]:
    """Return bounds moved out to whole steps, except where an end is fixed."""
    low, high = spread(low, high)
    step = nice_step(high - low, count)
    return (
        low if fixed_low else math.floor(low / step + 1e-9) * step,
        high if fixed_high else math.ceil(high / step - 1e-9) * step,
    )


def ticks(low: float, high: float, count: int, *, unit: str = "", whole: bool = False) -> list[Tick]:
    """Return the named values between two bounds.

    Args:
        low: lower bound.
        high: upper bound.
        count: about how many.
        unit: UCUM unit: bytes are named in powers of two.
        whole: only whole numbers are named.
    """
    step = _bytes_step(high - low, count) if unit == "By" else nice_step(high - low, count)
    if whole:
        step = max(1.0, step)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [
        Tick(at * step, bytes_text(at * step) if unit == "By" else _text(at * step, step))
        for at in range(first, last + 1)
    ]


def time_ticks(low: float, high: float, count: int) -> list[Tick]:
    """Return the named times between two, in seconds since 1970 UTC."""
    raw = (high - low) / max(1, count)
    step = next((one for one in _CLOCK if one >= raw), None) or math.ceil(raw / _DAY) * _DAY
    if raw < _CLOCK[0]:
        parts = ticks(0, high - low, count)
        return [Tick(low + part.value, f"+{part.text} s") for part in parts]
    shape = "%d %b" if step >= _DAY else "%H:%M" if step >= 60 else "%H:%M:%S"  # noqa: PLR2004 - a minute
    first, last = math.ceil(low / step), math.floor(high / step)
    return [Tick(at * step, datetime.fromtimestamp(at * step, UTC).strftime(shape)) for at in range(first, last + 1)]


def _bytes_step(span: float, count: int) -> float:
    raw = span / max(1, count)
    power = _KIB ** math.floor(math.log(max(raw, 1.0), _KIB))
    return next(step * power for step in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024) if step * power >= raw * 0.999)


def _text(value: float, step: float) -> str:
    """Return a value with as many decimals as its step has."""
    if max(abs(value), abs(step)) >= 1e6 or step < 1e-4:  # noqa: PLR2004 - beyond, digits take more room than they tell
        digits = max(0, math.floor(math.log10(abs(value))) - math.floor(math.log10(step) + 1e-9)) if value else 0
        mantissa, _, power = f"{value:.{digits}e}".partition("e")
        text = f"{mantissa}e{int(power)}" if value else "0"
    else:
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        text = f"{value:,.{decimals}f}"
    return text.replace("-", _MINUS) if float(value) else text.lstrip("-")
