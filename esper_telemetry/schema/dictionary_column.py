"""A column whose events share a few values: the values once, and a byte for each event that states which one it has.

The context of events is such a column: many events happen in few places. What is done for each event of it is
`bytes.translate`, at a fiftieth of the price of a look-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_VALUES = 256
"""What a byte distinguishes."""


class DictionaryColumn(Sequence[Any]):
    """A value for each event.

    Attributes:
        values: those that occur, each once, in the order of the first event that has them; at most MOST_VALUES.
        indices: which one each event has.
    """

    __slots__ = ("indices", "values")

    def __init__(self, values: Sequence[Any], indices: bytes) -> None:
        self.values = values
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return list(map(self.values.__getitem__, self.indices[place]))
        return self.values[self.indices[place]]

    def __iter__(self) -> Iterator[Any]:
        return map(self.values.__getitem__, self.indices)


def column_of(values: Sequence[Any], indices: bytes) -> Sequence[Any]:
    """Return a column of values that may be equal to each other: of what all share, the one value.

    Args:
        values: whole numbers or texts, in the order of the first event that has them.
        indices: which one each event has.
    """
    places: dict[Any, int] = {}
    table = bytes([places.setdefault(value, len(places)) for value in values])
    if len(places) == 1:
        return values[:1]
    if len(places) < len(values):
        indices = indices.translate(table.ljust(MOST_VALUES, b"\0"))
    return DictionaryColumn(list(places), indices)
