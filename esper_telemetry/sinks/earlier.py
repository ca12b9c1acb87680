"""The segments of a stream that are closed already: what each holds, and which are there no more.

What retention deletes is forgotten here first; what is missing later was removed by somebody else, and
its events are lost to the record. It looks at names only, never into a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable
    from pathlib import Path


class EarlierSegments:
    """The closed segments of one sink, oldest first."""

    def __init__(self) -> None:
        self._events: dict[Path, Counter[int]] = {}

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that are still known."""
        return tuple(self._events)

    def add(self, path: Path, events: Counter[int]) -> None:
        """Remember a segment that was closed, with its events by type id."""
        self._events[path] = events

    def forget(self, paths: Iterable[Path]) -> None:
        """Let go of segments that were deleted on purpose."""
        for path in paths:
            self._events.pop(path, None)

    def take_missing(self) -> list[tuple[Path, Counter[int]]]:
        """Return the segments that are not there any more, each once, with their events by type id."""
        missing = [(path, events) for path, events in self._events.items() if _is_missing(path)]
        self.forget(path for path, _ in missing)
        return missing


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # looking is not allowed, or the disk does not answer: nothing is known
        return False
    return False
