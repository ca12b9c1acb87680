"""The few events by which a record speaks of itself: how a run began and ended, and what was dropped and why.

Only frames that hold them are decompressed: the first and the last of a segment, and those with a report of losses.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from esper_telemetry.decode.configuration import RUN_CONFIGURED
from esper_telemetry.decode.envelope import parse_frame
from esper_telemetry.decode.event import Event
from esper_telemetry.decode.origin import Origin
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from esper_telemetry.recordfile import FrameRef, RecordReader, Segment

STARTED, FINISHED, _DROPPED = "run.started", "run.finished", "telemetry.dropped"
CHILD_FINISHED = "stream.finished"


class Landmarks:
    """The events of a segment that say how the run fares; each is read when it is asked for.

    Args:
        reader: the file.
        segment: the segment.
        origin: the same; made where it is not given.

    Raises:
        CorruptRecordError: the descriptors of the segment are invalid.
    """

    def __init__(self, reader: RecordReader, segment: Segment, origin: Origin | None = None) -> None:
        self._reader = reader
        self._segment = segment
        self._origin = origin or Origin(segment, reader.path, Counter())

    def started(self) -> dict[str, Any]:
        """Return the data of RunStarted, if that is the first event of the segment; else nothing."""
        found = self._events(self._segment.frames[:1], STARTED)
        return found[0].data if found else {}

    def finished(self) -> dict[str, Any]:
        """Return the data of RunFinished, of StreamFinished in the stream of a child, if the last frame has it."""
        last = CHILD_FINISHED if self._segment.header.parent_producer_id else FINISHED
        found = self._events(self._segment.frames[-1:], last)
        return found[-1].data if found else {}

    def configured(self) -> list[dict[str, Any]]:
        """Return the data of every RunConfigured of the segment."""
        return [event.data for event in self._events(self._segment.frames, RUN_CONFIGURED)]

    def drops(self) -> Counter[str]:
        """Return the losses that were reported in the segment, by cause."""
        causes: Counter[str] = Counter()
        for event in self._events(self._segment.frames, _DROPPED):
            causes.update(causes_in(event.data))
        return causes

    def _events(self, frames: Iterable[FrameRef], name: str) -> list[Event]:
        kinds = self._origin.kinds
        wanted = frozenset(number for number in self._segment.types if kinds[number].name == name)
        selection = Selection(type_ids=wanted)
        found = []
        for frame in filter(selection.concerns, frames):
            with contextlib.suppress(CorruptRecordError):  # a scan of the events tells it
                envelopes = parse_frame(self._reader.decompress(frame), frame, self._reader.path)
                found += [Event(kinds[one.type_id], self._origin, one) for one in envelopes if one.type_id in wanted]
        return found


def causes_in(data: Mapping[str, Any]) -> Counter[str]:
    """Return what RunFinished or a report of losses says was lost, by cause."""
    causes: Counter[str] = Counter()
    for cause, count in _counts(data):
        causes[cause] += count
    return causes


def _counts(data: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for drop in data.get("drops", ()):
        yield str(drop.get("cause", "unknown")), int(drop.get("count", 0))
