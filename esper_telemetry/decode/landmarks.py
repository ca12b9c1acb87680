"""The few events by which a record reports on itself: how a run began and ended, and what was dropped and why.

Only frames that hold them are decompressed: the first and the last of a segment, and those with a report of losses.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any

from esper_telemetry.decode.event import Event
from esper_telemetry.decode.types import Origin
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from esper_telemetry.recordfile import FrameRef, RecordReader, Segment

FINISHED, CHILD_FINISHED = "run.finished", "stream.finished"
_STARTED_TYPE, _RESUMED_TYPE, _CONFIGURED_TYPE, _FINISHED_TYPE, _CHILD_FINISHED_TYPE, _DROPPED_TYPE = (
    f"esper_telemetry.v1.{name}"
    for name in ("RunStarted", "RunResumed", "RunConfigured", "RunFinished", "StreamFinished", "DropReport")
)
# RunResumed is the second event of a stream: in the first frame, or in the one after.
_SOON = 2


class Landmarks:
    """The events of a segment that report on the run itself; each is read when it is asked for, once.

    Args:
        reader: the file.
        segment: the segment.
    """

    def __init__(self, reader: RecordReader, segment: Segment) -> None:
        self._reader = reader
        self._segment = segment

    @property
    def begins_run(self) -> bool:
        """Whether RunStarted is in the first frame of the stream, as its descriptor states."""
        first = next((frame for frame in self._segment.frames[:1] if frame.first_seq == 1), None)
        return first is not None and self._wanted(_STARTED_TYPE).concerns(first)

    @cached_property
    def started(self) -> dict[str, Any]:
        """Data of RunStarted, if it is in the first frame of the segment; else nothing."""
        found = self._events(self._segment.frames[:1], _STARTED_TYPE)
        return found[0].data if found else {}

    @cached_property
    def resumed(self) -> dict[str, Any]:
        """Data of RunResumed, if it is at the start of the segment; else nothing."""
        found = self._events(self._segment.frames[:_SOON], _RESUMED_TYPE)
        return found[0].data if found else {}

    @cached_property
    def finished(self) -> dict[str, Any]:
        """Data of RunFinished, of StreamFinished in the stream of a child, if the last frame has it; else nothing."""
        last = _CHILD_FINISHED_TYPE if self._segment.header.parent_producer_id else _FINISHED_TYPE
        found = self._events(self._segment.frames[-1:], last)
        return found[-1].data if found else {}

    @cached_property
    def configured(self) -> list[dict[str, Any]]:
        """Data of every RunConfigured of the segment; frames without one are not read."""
        return [event.data for event in self._events(self._segment.frames, _CONFIGURED_TYPE)]

    @cached_property
    def drops(self) -> Counter[str]:
        """Losses that were reported in the segment, by cause."""
        causes: Counter[str] = Counter()
        for event in self._events(self._segment.frames, _DROPPED_TYPE):
            causes.update(causes_in(event.data))
        return causes

    def _wanted(self, full_name: str) -> Selection:
        return Selection(
            type_ids=frozenset(number for number, name in self._segment.types.items() if name == full_name)
        )

    def _events(self, frames: Iterable[FrameRef], full_name: str) -> list[Event]:
        wanted = self._wanted(full_name)
        found = []
        for frame in filter(wanted.concerns, frames):
            with contextlib.suppress(CorruptRecordError):  # a scan of the events tells it
                origin = Origin(self._segment, self._reader.path, Counter())
                envelopes = self._reader.read_envelopes(frame, wanted)
                found += [Event(origin.kinds[one.type_id], origin, one) for one in envelopes]
        return found


def causes_in(data: Mapping[str, Any]) -> Counter[str]:
    """Return what RunFinished or a report of losses states as lost, by cause."""
    causes: Counter[str] = Counter()
    for cause, count in _counts(data):
        causes[cause] += count
    return causes


def _counts(data: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for drop in data.get("drops", ()):
        yield str(drop.get("cause", "unknown")), int(drop.get("count", 0))
