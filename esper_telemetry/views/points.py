"""The measurements of one line: all of them in 24 bytes each, and a choice of them that is worth drawing.

Decimation keeps the smallest and the largest value of each bin, and its first one that is not finite. A bin is a
power of two of measurements, counted from the first one, so that a bin that is full never changes while the line
grows: nothing flickers. Inside a window every measurement is given if it fits, so zooming in shows them all.
Beyond LIMIT measurements the store itself keeps the extremes of its bins, so that memory is bounded.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LIMIT = 1 << 17
"""Measurements of a line that are kept singly: 3 MiB."""

_BIN = 4


class Window(NamedTuple):
    """A part of the x axis.

    Attributes:
        low: smallest drawn position.
        high: largest drawn position.
    """

    low: float = -math.inf
    high: float = math.inf


class Stored(NamedTuple):
    """A stored measurement: position, value and sequence number."""

    x: float
    y: float
    seq: int


class PointStore:
    """The measurements of one line in the order of their sequence numbers.

    Attributes:
        count: measurements added.
    """

    def __init__(self) -> None:
        self.count = 0
        self._last: tuple[float, float, int] | None = None
        self._x = array("d")
        self._y = array("d")
        self._seq = array("Q")
        self._skips = array("Q")
        self._each = 1
        self._pending: list[Stored] = []
        self._bins: list[int] = []
        self._full = 0
        self._bin_size = 0

    def __len__(self) -> int:
        return len(self._x) + len(self._pending)

    @property
    def each(self) -> int:
        """Measurements that each kept one covers."""
        return self._each

    @property
    def last(self) -> Stored | None:
        """The latest measurement; None without any."""
        return None if self._last is None else Stored(*self._last)

    def add(self, x: float, y: float, seq: int) -> None:
        """Append a measurement."""
        self.count += 1
        self._last = x, y, seq
        if self._each == 1:
            self._x.append(x)
            self._y.append(y)
            self._seq.append(seq)
        else:
            self._pending.append(Stored(x, y, seq))
            if len(self._pending) >= 2 * self._each:
                for kept in _extremes(self._pending):
                    self._append(kept)
                self._pending = []
        if len(self._x) >= LIMIT:
            self._halve()

    def skip(self, seq: int) -> None:
        """Record that the event with this number carried no value: no line may cross it."""
        if not self._skips or self._skips[-1] != seq:
            self._skips.append(seq)

    def chosen(self, most: int, window: Window, placed: Sequence[float] | None = None) -> tuple[list[Stored], int]:
        """Return the measurements that are worth drawing, and how many each bin covers.

        Args:
            most: how many may be returned, about.
            window: the part of the axis; the measurement before and after it is given too.
            placed: drawn position of each kept measurement, where a window is asked for.
        """
        everything = window == Window()
        first, last = (0, len(self._x)) if everything else self._inside(window, placed or self._x)
        size = 1
        while (last - first) / size * 2 > most and size < last - first:
            size *= 2
        if size <= 2:  # noqa: PLR2004 - two measurements are their own extremes
            indices: Iterable[int] = range(first, last)
            size = 1
        elif everything:
            indices = self._cached(size)
        else:
            indices = self._decimated(first - first % size, last, size)
        points = [Stored(self._x[i], self._y[i], self._seq[i]) for i in indices]
        if last == len(self._x):
            points += self._pending
        return points, size * self._each

    def positions(self) -> array[float]:
        """Return the stored position of each kept measurement."""
        return self._x

    def around(self, first: int, last: int) -> tuple[float | None, float | None]:
        """Return the positions of the measurements before and after the numbers `first` to `last`."""
        before = bisect_left(self._seq, first) - 1
        after = bisect_left(self._seq, last)
        end = self._x[after] if after < len(self._x) else None
        if end is None and self._pending and self._pending[-1].seq > last:
            end = self._pending[-1].x
        return (self._x[before] if before >= 0 else None), end

    def skipped_between(self, first: int, last: int) -> bool:
        """Tell whether an event between two numbers carried no value."""
        at = bisect_left(self._skips, first)
        return at < len(self._skips) and self._skips[at] < last

    def _append(self, point: Stored) -> None:
        self._x.append(point.x)
        self._y.append(point.y)
        self._seq.append(point.seq)

    def _inside(self, window: Window, placed: Sequence[float]) -> tuple[int, int]:
        inside = [i for i, x in enumerate(placed) if window.low <= x <= window.high]
        if not inside:
            return 0, 0
        return max(0, inside[0] - 1), min(len(placed), inside[-1] + 2)

    def _cached(self, size: int) -> list[int]:
        """Return the indices worth drawing; those of full bins are computed once."""
        if size != self._bin_size:
            self._bins, self._bin_size = [], size
            self._full = 0
        end = len(self._x) - len(self._x) % size
        if end > self._full:
            self._bins += self._decimated(self._full, end, size)
            self._full = end
        return self._bins + list(self._decimated(end, len(self._x), size))

    def _decimated(self, first: int, last: int, size: int) -> Iterator[int]:
        for start in range(first, last, size):
            yield from self._extreme_indices(start, min(start + size, last))

    def _extreme_indices(self, start: int, end: int) -> list[int]:
        y = self._y
        finite = [i for i in range(start, end) if math.isfinite(y[i])]
        kept = {min(finite, key=y.__getitem__), max(finite, key=y.__getitem__)} if finite else set()
        if len(finite) < end - start:
            kept.add(next(i for i in range(start, end) if not math.isfinite(y[i])))
        return sorted(kept)

    def _halve(self) -> None:
        """Keep the extremes of each bin of four: two of them."""
        x, y, seq = self._x, self._y, self._seq
        self._x, self._y, self._seq = array("d"), array("d"), array("Q")
        whole = len(x) - len(x) % _BIN
        for start in range(0, whole, _BIN):
            for kept in _extremes([Stored(x[i], y[i], seq[i]) for i in range(start, start + _BIN)]):
                self._append(kept)
        self._pending = [Stored(x[i], y[i], seq[i]) for i in range(whole, len(x))] + self._pending
        self._each *= 2
        self._bins, self._bin_size = [], 0


def _extremes(points: Sequence[Stored]) -> list[Stored]:
    """Return two of several measurements in their order: the extremes, or what is not finite and the largest."""
    finite = [point for point in points if math.isfinite(point.y)]
    odd = next((point for point in points if not math.isfinite(point.y)), None)
    if not finite:
        return [points[0]]
    most = max(finite, key=lambda point: point.y)
    other = odd or min(finite, key=lambda point: point.y)
    return sorted({other, most}, key=lambda point: point.seq)
