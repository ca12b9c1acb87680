"""From rows, the dicts of calls, to columns: numbers all at once, everything else name by name.

Each row is looked at once, by C code alone: its numbers are packed side by side, eight bytes each, and a column of them
is every so-manieth. That takes four fifths of what a list of objects for each name takes, objects that would be packed
afterwards all the same.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from itertools import starmap
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor

from esper_telemetry.schema.event_block import REAL, UNSIGNED_WIDE, WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from esper_telemetry.schema.event_block import Field

# For fewer numbers or events, lists are as fast.
_FEWEST_NUMBERS, _FEWEST_ROWS = 4, 16
# Rows that are packed before others may run: some 0.1 ms.
_ROWS_AT_ONCE = 512
_NUMBERS = WHOLE | {FieldDescriptor.TYPE_BOOL}


class ColumnSource(NamedTuple):
    """Where the values of a column are in a row.

    Attributes:
        field: what the column is of.
        name: key in the row.
        convert: from the value of a call to that of a column; None where they are the same.
    """

    field: Field
    name: str
    convert: Callable[[Any], Any] | None

    def column(self, rows: Iterable[Mapping[str, Any]]) -> list[Any]:
        """Return the value of each row."""
        name, convert = self.name, self.convert
        values = [row[name] for row in rows]
        return values if convert is None else list(map(convert, values))

    @property
    def code(self) -> str:
        """What `struct` and `array` call the numbers of the column, at eight bytes each; empty where it has others."""
        if sys.byteorder != "little":  # an array has the order of the machine, a record is little-endian
            return ""
        if self.field.type in REAL:
            return "d"
        if self.field.type not in _NUMBERS or self.convert not in (None, int):
            return ""
        return "Q" if self.field.type in UNSIGNED_WIDE else "q"


class _Packing:
    """How the numbers of a row are packed."""

    def __init__(self, sources: Iterable[ColumnSource]) -> None:
        numbers = [source for source in sources if source.code]
        names = [source.name for source in numbers]
        self._width = len(numbers)
        self._codes = [source.code for source in numbers]
        self._places = {name: place for place, name in enumerate(names)}
        if self:
            self._pack = struct.Struct("<" + "".join(self._codes)).pack
            self._pick = itemgetter(*names)

    def __bool__(self) -> bool:
        return self._width >= _FEWEST_NUMBERS

    def columns(self, rows: Sequence[Mapping[str, Any]], pause: Callable[[], None]) -> dict[str, array[Any]]:
        """Return the numbers of some rows by name."""
        packed: list[bytes] = []
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            if start:
                pause()
            packed += starmap(self._pack, map(self._pick, rows[start : start + _ROWS_AT_ONCE]))
        data = b"".join(packed)
        alike = {code: array(code, data) for code in set(self._codes)}
        return {name: alike[self._codes[place]][place :: self._width] for name, place in self._places.items()}


class RowSources(Sequence[ColumnSource]):
    """The columns of rows that have the same names, by number of field.

    Attributes:
        packing: how their numbers are packed; false where that is not worth it.
    """

    __slots__ = ("_sources", "packing")

    def __init__(self, sources: Iterable[ColumnSource]) -> None:
        self._sources = tuple(sources)
        self.packing = _Packing(self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, place: Any) -> Any:
        return self._sources[place]

    def __iter__(self) -> Iterator[ColumnSource]:
        return iter(self._sources)


class RowColumns(Sequence[Sequence[Any]]):
    """The columns of some rows, each made when it is asked for: one at a time stays in the cache of a processor.

    Args:
        sources: where they are in a row.
        rows: what they are made of.
        pause: called now and then: a writer thread lets others run.
    """

    __slots__ = ("_pause", "_rows", "_sources")

    def __init__(self, sources: RowSources, rows: Sequence[Mapping[str, Any]], pause: Callable[[], None]) -> None:
        self._sources = sources
        self._rows = rows
        self._pause = pause

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, place: Any) -> Any:
        return list(self)[place]

    def __iter__(self) -> Iterator[Sequence[Any]]:
        rows, packing = self._rows, self._sources.packing
        numbers = packing.columns(rows, self._pause) if packing and len(rows) >= _FEWEST_ROWS else {}
        return (numbers.pop(one.name) if one.name in numbers else one.column(rows) for one in self._sources)
