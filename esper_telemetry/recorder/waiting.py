"""What waits in the buffer: five values for each event, flat, and how a stretch of them becomes sizes and groups.

Flat, because a tuple for each event would be an object that the garbage collector follows. A part of many events (their
kinds, their times) is a slice with a step. Pure: it takes nothing away. What is done for each event here is done a
million times, so each look at a part is one C call where there is one that does it.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from esper_telemetry.schema.frame_builder import EventGroup

# Per event: kind, context, monotonic time, row, bytes that it takes in memory.
WIDTH = 5
KIND, WHERE, TIME, ROW, ROOM = range(WIDTH)
_NO_TYPE = 0


class Loss:
    """The kind of an entry in the place of an event that could not be built: it is counted when it is taken.

    Attributes:
        full_name: full message name of the event.
        cause: DropCause number.
    """

    __slots__ = ("cause", "full_name")

    type_id = _NO_TYPE
    held = spare = 200  # bytes in memory; none of them come into a frame

    def __init__(self, full_name: str, cause: int) -> None:
        self.full_name = full_name
        self.cause = cause


def part_of(entries: list[Any], part: int, start: int, end: int) -> list[Any]:
    """Return a part, such as ROOM, of the events from `start` up to `end`."""
    return entries[start * WIDTH + part : end * WIDTH : WIDTH]


def size_of(entries: list[Any], start: int, end: int) -> int:
    """Return what the events from `start` up to `end` take in a frame, about: the sum of `sizes_of`."""
    kinds, wheres = part_of(entries, KIND, start, end), part_of(entries, WHERE, start, end)
    size: int = sum(part_of(entries, ROOM, start, end))
    if kinds.count(kinds[0]) == len(kinds):
        size -= kinds[0].spare * len(kinds)
    else:
        size -= sum([kind.spare for kind in kinds])
    if wheres[0] is wheres[-1] and wheres.count(wheres[0]) == len(wheres):
        return size
    size -= sum([where[1] for where, last in zip(wheres[1:], wheres, strict=False) if where is not last])
    return size


def sizes_of(entries: list[Any], start: int, end: int) -> list[int]:
    """Return what each event from `start` up to `end` takes in a frame, about.

    A context that is another one than that of the event before was reckoned at its memory, which comes off again.
    """
    kinds, wheres = part_of(entries, KIND, start, end), part_of(entries, WHERE, start, end)
    sizes, last = [], wheres[0]
    for kind, where, room in zip(kinds, wheres, part_of(entries, ROOM, start, end), strict=True):
        sizes.append(room - kind.spare if where is last else room - kind.spare - where[1])
        last = where
    return sizes


def places_by_kind(kinds: list[Any]) -> Mapping[Any, Sequence[int]]:
    """Return where the entries of each kind are."""
    if kinds.count(kinds[0]) == len(kinds):
        return {kinds[0]: range(len(kinds))}
    places: defaultdict[Any, list[int]] = defaultdict(list)
    for place, kind in enumerate(kinds):
        places[kind].append(place)
    return places


def groups_of(
    places: Mapping[Any, Sequence[int]], parts: Sequence[Sequence[Any]], pause: Callable[[], None]
) -> list[EventGroup]:
    """Return the events of each kind, without the entries of losses.

    Args:
        places: where the entries of each kind are.
        parts: sequence number, time, context and row of each entry.
        pause: called now and then: a writer thread lets others run.
    """
    if len(places) == 1:
        return [kind.group(*parts, pause=pause) for kind in places if kind.type_id != _NO_TYPE]
    return [
        kind.group(*(_chosen(part, found) for part in parts), pause=pause)
        for kind, found in places.items()
        if kind.type_id != _NO_TYPE
    ]


def _chosen(part: Sequence[Any], places: Sequence[int]) -> Sequence[Any]:
    return operator.itemgetter(*places)(part) if len(places) > 1 else (part[places[0]],)
