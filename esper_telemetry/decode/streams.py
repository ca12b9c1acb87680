"""Which segments the files hold, in which order they belong, and the readers that are open on them."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.recordfile import RecordReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from esper_telemetry.decode.faults import Faults
    from esper_telemetry.v1 import record_pb2


class SegmentPlace(NamedTuple):
    """A segment and where it is.

    Attributes:
        path: the file.
        number: position in the file, from 0: a concatenation or a merge holds several.
        header: its header.
        events: how many it holds, as its descriptors say.
    """

    path: Path
    number: int
    header: record_pb2.Header
    events: int

    @property
    def stream_key(self) -> tuple[str, int, bytes]:
        """What the segments of one stream share."""
        return self.header.stream, self.header.rank, self.header.producer_id

    @property
    def order(self) -> tuple[tuple[str, int, bytes], int]:
        """Where it belongs among the segments of a run."""
        return self.stream_key, self.header.segment


def ordered_segments(paths: Iterable[Path]) -> list[SegmentPlace]:
    """Return the segments of files in the order of streams and segments; of the same ones, as they were given.

    Raises:
        RecordError: a file is no record or cannot be opened.
    """
    found = []
    for path in paths:
        with RecordReader(path) as reader:
            found += [
                SegmentPlace(path, number, segment.header, segment.records)
                for number, segment in enumerate(reader.segments)
            ]
    return sorted(found, key=lambda place: place.order)


def by_stream(places: Iterable[SegmentPlace]) -> list[list[SegmentPlace]]:
    """Return ordered segments as one list for each stream."""
    return [list(group) for _, group in groupby(places, key=lambda place: place.stream_key)]


class OpenReaders:
    """Opens each file when its first segment is read, and closes it when its last one was.

    Args:
        places: every segment that will be read, once.
        faults: told what each file says of itself.
    """

    def __init__(self, places: Sequence[SegmentPlace], faults: Faults) -> None:
        self._left = Counter(place.path for place in places)
        self._faults = faults
        self._open: dict[Path, RecordReader] = {}

    def take(self, path: Path) -> RecordReader:
        """Return the reader of a file.

        Raises:
            RecordError: it cannot be opened any more, or is damaged and the faults are strict.
        """
        reader = self._open.get(path)
        if reader is None:
            reader = self._open[path] = RecordReader(path)
            self._faults.opened(reader)
        return reader

    def give_back(self, path: Path) -> None:
        """Say that one segment of a file has been read."""
        self._left[path] -= 1
        if not self._left[path] and path in self._open:
            self._open.pop(path).close()

    def close(self) -> None:
        """Close what is still open."""
        for reader in self._open.values():
            reader.close()
        self._open.clear()
