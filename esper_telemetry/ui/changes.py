"""What changed between two JSON documents, as few operations as a growing figure needs. Pure.

Figures mostly grow at their ends, and decimation is anchored, so the front of a line stays as it is: a change is then
the few points behind the common front. `apply` is what the page does in its own language.

Items inside a plain list are compared as Python compares them: a page that needs to tell 1 from true must not mix them
at one place of a list; figures do not.

An operation is a list:

    [path, value]             put value at path
    [path, front, items]      keep the first `front` items of the list at path, then append items
"""

from __future__ import annotations

from typing import Any

Path = list[str | int]
Operation = list[Any]
_PUT, _EXTEND = 2, 3


def changes(old: Any, new: Any) -> list[Operation]:
    """Return the operations that turn `old` into `new`; none where they are equal."""
    found: list[Operation] = []
    _compare(old, new, [], found)
    return found


def apply(document: Any, operations: list[Operation]) -> Any:
    """Return a document with operations applied; lists and dicts of `document` are changed in place."""
    for operation in operations:
        path = operation[0]
        if not path and len(operation) == _PUT:
            document = operation[1]
            continue
        *above, last = path or [None]
        holder = document
        for step in above:
            holder = holder[step]
        if len(operation) == _EXTEND:
            target = holder[last] if path else document
            target[operation[1] :] = operation[2]
        else:
            holder[last] = operation[1]
    return document


def _compare(old: Any, new: Any, path: Path, found: list[Operation]) -> None:
    if old is new:
        return
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        for key, value in new.items():
            _compare(old[key], value, [*path, key], found)
    elif isinstance(old, list) and isinstance(new, list):
        _compare_lists(old, new, path, found)
    elif type(old) is not type(new) or old != new:
        found.append([path, new])


def _compare_lists(old: list[Any], new: list[Any], path: Path, found: list[Operation]) -> None:
    shorter = min(len(old), len(new))
    if shorter and isinstance(new[0], dict):  # figures, lines, lanes: each is compared with the one in its place
        for at in range(shorter):
            _compare(old[at], new[at], [*path, at], found)
        if len(old) != len(new):
            found.append([path, shorter, new[shorter:]])
        return
    front = _common_front(old, new, shorter)
    if front < shorter or len(old) != len(new):
        found.append([path, front, new[front:]])


def _common_front(old: list[Any], new: list[Any], shorter: int) -> int:
    """Return how many items at the front are the same, by halving: lists are compared at the speed of C."""
    if old[:shorter] == new[:shorter]:
        return shorter
    low, high = 0, shorter  # the first `low` are the same, the first `high` are not
    while high - low > 1:
        middle = (low + high) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle
    return low
