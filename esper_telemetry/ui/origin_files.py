"""A run in record files as an origin of events: all that is stored, then what is written, each event once.

The end of the record is marked before its history is read, and what comes twice is told by producer and number: so no
event falls between history and tail, and none is given twice.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.decode import Filter, Records, Tail, record_files, record_reference, survey
from esper_telemetry.ui.origin import Phase, Portion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from esper_telemetry.decode import Event, Reference

# Events that are handed over at once: about 20 ms of decoding, so that a page shows progress and a stop is heard soon.
_PORTION = 2000
_LOOK_S = 1.0
_POLL_S = 0.1
_FIRST = (0, -1)


class FileOrigin:
    """The record files of one run.

    Args:
        path: a run folder or a record file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wake = threading.Event()
        self._reached: dict[bytes, tuple[int, int]] = {}

    @property
    def name(self) -> str:
        """The path."""
        return str(self._path)

    def portions(self, stop: Callable[[], bool]) -> Iterator[Portion]:
        """Yield every stored event, then every event that is written, until `stop` is true.

        Raises:
            RecordError: the record cannot be read (any more).
            OSError: likewise.
        """
        while not stop():
            seen = self._sizes()
            yield from self._read_once(stop)
            while not stop() and self._sizes() == seen:  # another attempt may begin in the same folder
                self._pause(_LOOK_S)

    def wake(self) -> None:
        """End a wait soon."""
        self._wake.set()

    def last(self, wanted: Filter, count: int) -> list[Event]:
        """Return the last `count` events that are wanted; files are read from their ends.

        Raises:
            RecordError: the record cannot be read.
        """
        return Tail(self._path, wanted).last(count)

    def reference(self) -> Reference:
        """Return what the types of the record mean.

        Raises:
            RecordError: the record cannot be read.
        """
        return record_reference(self._path)

    def _read_once(self, stop: Callable[[], bool]) -> Iterator[Portion]:
        tail = Tail(self._path, Filter())
        tail.last(0)  # marks the end of what is there now: `follow` gives what comes after it
        records = Records(survey(self._path), Filter(), strict=False)
        for events in _portions_of(records):
            if stop():
                return
            yield self._portion(events, Phase.HISTORY, records, records.events)
        yield self._portion((), Phase.LIVE, records, records.events, missing=records.missing)
        history = _History(tuple(records.warnings), dict(records.unknown), records.missing)
        for events in tail.follow(stop=stop, sleep=self._pause_shortly):
            yield self._after(events, Phase.LIVE, tail, history)
        if not stop():
            yield self._after((), Phase.ENDED, tail, history)

    def _portion(
        self, events: Iterable[Event], phase: Phase, records: Records, stored: int, missing: int | None = None
    ) -> Portion:
        return Portion(
            self._fresh(events), phase, stored, tuple(records.warnings), dict(records.unknown), missing=missing
        )

    def _after(self, events: Iterable[Event], phase: Phase, tail: Tail, history: _History) -> Portion:
        counts = dict(history.unknown)
        for name, count in tail.unknown.items():
            counts[name] = counts.get(name, 0) + count
        told = set(history.warnings)
        warnings = (*history.warnings, *(one for one in tail.warnings if one not in told))
        # What was missing then stays missing: the numbers behind the last event of a file are told by its end only.
        return Portion(self._fresh(events), phase, None, warnings, counts, missing=history.missing)

    def _fresh(self, events: Iterable[Event]) -> list[Event]:
        fresh = []
        for event in events:
            if event.position > self._reached.get(event.producer_id, _FIRST):
                self._reached[event.producer_id] = event.position
                fresh.append(event)
        return fresh

    def _sizes(self) -> list[tuple[str, int]]:
        return [(str(path), path.stat().st_size) for path in record_files(self._path) if path.exists()]

    def _pause(self, seconds: float) -> None:
        self._wake.wait(seconds)
        self._wake.clear()

    def _pause_shortly(self, seconds: float) -> None:
        # A page is drawn twice a second at most: a look every 100 ms halves what an idle run costs.
        self._pause(max(seconds, _POLL_S))


class _History(NamedTuple):
    """What reading from the beginning found beside the events."""

    warnings: tuple[str, ...]
    unknown: dict[str, int]
    missing: int


def _portions_of(events: Iterable[Event]) -> Iterator[list[Event]]:
    portion: list[Event] = []
    for event in events:
        portion.append(event)
        if len(portion) >= _PORTION:
            yield portion
            portion = []
    if portion:
        yield portion
