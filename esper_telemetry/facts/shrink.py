"""Cuts a tree of plain values to a size: what is large goes first, and a mark states how much went.

Texts and large values give way to a mark, a list keeps its head, an object its small values. Pure, and the same tree
is always cut the same way.
"""

from __future__ import annotations

from typing import Any

from esper_telemetry.facts.plainconfig import canonical_json

# A mark and the signs around it take no more; what is smaller is not worth one.
_MARK_BYTES = 64


def shrink(value: Any, limit: int) -> Any:
    """Return `value` with at most `limit` bytes of canonical JSON, cut where it must be.

    Args:
        value: a tree of plain values.
        limit: bytes, at least those of two marks.
    """
    size = _size(value)
    if size <= limit:
        return value
    if limit > 2 * _MARK_BYTES:
        if isinstance(value, dict):
            return _shrink_dict(value, size, limit)
        if isinstance(value, list):
            return _shrink_list(value, limit)
    return f"<cut: {size:,} bytes>"


def _shrink_dict(value: dict[str, Any], size: int, limit: int) -> dict[str, Any]:
    """Cut the largest values one after the other; if the small ones are still too many, keep the first by name."""
    kept = dict(sorted(value.items()))
    sizes = {name: _size(item) for name, item in kept.items()}
    for name in sorted(kept, key=lambda name: (-sizes[name], name)):
        if size <= limit or sizes[name] <= _MARK_BYTES:
            break
        kept[name] = shrink(kept[name], max(0, sizes[name] - (size - limit)))
        size += _size(kept[name]) - sizes[name]
    if size <= limit:
        return kept
    head = _head([(name, _size(name) + _size(item) + 2) for name, item in kept.items()], limit)
    return {**{name: kept[name] for name in head}, "<cut>": f"{len(kept) - len(head):,} more"}


def _shrink_list(value: list[Any], limit: int) -> list[Any]:
    head = _head([(index, _size(item) + 1) for index, item in enumerate(value)], limit)
    return [*(value[index] for index in head), f"<cut: {len(value) - len(head):,} more>"]


def _head(sizes: list[tuple[Any, int]], limit: int) -> list[Any]:
    """Return the first names whose values fit beside a mark."""
    room = limit - _MARK_BYTES
    head = []
    for name, size in sizes:
        room -= size
        if room < 0:
            break
        head.append(name)
    return head


def _size(value: Any) -> int:
    return len(canonical_json(value))
