"""Cuts what waits in the buffer into batches of one frame each: numbers, stamps and groups events. Writer thread only.

The position of an entry in the buffer is its number, so a number cannot be given out without an event (or a counted
loss) behind it. Entries leave the buffer only when the batch that holds them is made, by a step that nothing can come
between: a cut that an exception breaks off is done again from the same entries. It never writes, and never waits for
anything but the interpreter.

Other threads may read; while `version` is None, or when it changed between two readings, what they read does not
belong together.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.recorder.ledger import TOO_LARGE
from esper_telemetry.recorder.waiting import (
    KIND,
    ROOM,
    ROW,
    TIME,
    WHERE,
    WIDTH,
    Loss,
    groups_of,
    part_of,
    places_by_kind,
    size_of,
    sizes_of,
)
from esper_telemetry.schema import MAX_BATCH_BYTES, MAX_EVENT_BYTES, Batch
from esper_telemetry.schema.envelope import frame_event
from esper_telemetry.schema.frame_builder import BuiltFrame, build_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from esper_telemetry.clock import Anchor
    from esper_telemetry.recorder.ledger import LossLedger
    from esper_telemetry.recorder.timeline import Timeline
    from esper_telemetry.schema import EventType

# Events that are looked at at once to find where a frame ends.
_SLICE = 256


class Given(NamedTuple):
    """What was taken from the buffer so far; replaced as a whole.

    Attributes:
        seq: last number given out.
        losses: losses of the ledger that have numbers up to `seq`.
        recorded: events taken and not lost since, by type id.
        latest: time of the last event, nanoseconds since 1970 UTC.
    """

    seq: int
    losses: int
    recorded: Counter[int]
    latest: int


class LastEvent(NamedTuple):
    """The last event of a stream, built when everything before it has its number.

    Attributes:
        type_id: id of its type.
        time: monotonic, nanoseconds.
        build: makes the payload from its number and the losses before it, by type and cause.
    """

    type_id: int
    time: int
    build: Callable[[int, Counter[tuple[str, int]]], bytes]


_NOTHING = BuiltFrame(b"", None, None)


@dataclass(slots=True)
class _Frame:
    """A frame in the making. Times in it are monotonic ones: the offset of its anchor makes wall time of them."""

    first: int
    latest: int
    anchor: Anchor
    built: BuiltFrame = _NOTHING
    counts: Counter[int] = field(default_factory=Counter)
    room: int = 0
    min_time: int | None = None
    entries: int = 0
    losses: list[Loss] = field(default_factory=list)
    ends: bool = False


class FrameCutter:
    """Makes batches of entries.

    Args:
        entries: WIDTH values an event; others append to it, only this class takes from it, at its start.
        ledger: where entries of losses are counted.
        types: the type table; it may grow.
        timeline: makes times of monotonic ones.
        frame_bytes: size at which a frame is cut.

    Attributes:
        given: what was taken so far.
        batch: the batch that was made last and not yet settled (written or dropped).
        spent: what the entries of the last cut had been reckoned at, in bytes.
        ended: the ending is in a batch.
        version: changes with every change of the above; None during one.
    """

    def __init__(
        self,
        entries: list[Any],
        ledger: LossLedger,
        types: Mapping[int, EventType],
        *,
        timeline: Timeline,
        frame_bytes: int,
    ) -> None:
        self._entries = entries
        self._ledger = ledger
        self._types = types
        self._declared = set(types)
        self._timeline = timeline
        self._frame_bytes = min(frame_bytes, MAX_BATCH_BYTES)
        self._covered = 0
        self._trying = 0  # entries that a batch is being made of
        self.given = Given(0, 0, Counter(), 0)
        self.batch: Batch | None = None
        self.spent = 0
        self.ended = False
        self._ending_fails = False
        self.version: object | None = object()

    @property
    def numbered(self) -> int:
        """Events offered so far: those that have a number, those that wait, and losses that have no place."""
        given = self.given
        return given.seq + len(self._entries) // WIDTH + self._ledger.total - given.losses

    def cut(self, *, patient: bool, ending: LastEvent | None = None) -> None:
        """Make a batch of the next entries, up to the size of a frame; none is made where there is nothing to write.

        A patient cut releases the interpreter between slices. It gets it back when the training thread waits for
        something, or after 5 ms: a writer that is behind and released it ten times a frame would never catch up.

        Args:
            patient: let others run.
            ending: goes into the batch that empties the buffer.
        """
        anchor = self._timeline.anchor
        self._trying = min(len(self._entries) // WIDTH, _SLICE)
        entries = self._trying = self._fitting()
        while True:
            frame = _Frame(self.given.seq + 1, self.given.latest - anchor.offset, anchor)
            self._fill(frame, entries, _let_others_run if patient else _go_on)
            if len(frame.built.raw) <= MAX_BATCH_BYTES or entries == 1:
                break
            entries //= 2  # it was reckoned at less
        losses = self._ledger.losses
        seq = self.given.seq + frame.entries + losses.total() - self.given.losses
        if ending is not None and self._has_room_for_the_end(frame):
            seq += 1
            self._end(frame, ending, seq, losses)
        self._commit(frame, seq, losses.total() + len(frame.losses))

    def written(self) -> None:
        """Release the batch: the sink has it."""
        batch = self.batch
        if batch is not None:
            self._declared.update(number for number, _ in batch.new_types)
            self._covered = batch.last_seq
            self.batch = None

    def drop(self, cause: int) -> None:
        """Count the events of the batch as lost, or the entries that none could be made of; the next one covers them.

        Where there are neither and the ending cannot be built, the stream goes without.
        """
        batch = self.batch
        if batch is not None:
            self._drop_batch(batch, cause)
        elif self._trying:
            self._drop_entries(self._trying, cause)
        elif self._ending_fails:
            self.ended = True

    def drop_all(self, cause: int) -> None:
        """Count everything that was not written as lost."""
        if self.batch is not None:
            self._drop_batch(self.batch, cause)
        self._drop_entries(len(self._entries) // WIDTH, cause)

    def take_back(self, events: Counter[int], cause: int) -> None:
        """Count events of batches that were written as lost, by type id."""
        given = self.given
        self.version = None
        for number, count in events.items():
            self._ledger.count(self._types[number].full_name, cause, count)
        self.given = given._replace(losses=given.losses + events.total(), recorded=given.recorded - events)
        self.version = object()

    def _drop_batch(self, batch: Batch, cause: int) -> None:
        given = self.given
        self.version = None
        self.batch = None
        for number, events in batch.type_counts.items():
            self._ledger.count(self._types[number].full_name, cause, events)
        self.given = given._replace(losses=given.losses + batch.records, recorded=given.recorded - batch.type_counts)
        self.version = object()

    def _drop_entries(self, events: int, cause: int) -> None:
        given = self.given
        given = given._replace(seq=given.seq + events, losses=given.losses + events)
        kinds = Counter(self._entries[: events * WIDTH : WIDTH])
        self.version = None
        for kind, count in kinds.items():  # an entry of a loss keeps its own cause
            self._ledger.count(kind.full_name, kind.cause if isinstance(kind, Loss) else cause, count)
        self.given = given
        self._release(events)
        self.version = object()

    def _release(self, events: int) -> None:
        """Take so many entries out of the buffer, to which others append meanwhile: one C call."""
        del self._entries[: events * WIDTH]
        self._trying = 0

    def _fitting(self) -> int:
        """Return how many entries the next frame has, up to the one that fills it as far as is known."""
        entries = size = 0
        waiting = len(self._entries) // WIDTH
        while size < self._frame_bytes and entries < waiting:
            end = min(waiting, entries + _SLICE)
            more = size_of(self._entries, entries, end)
            if size + more >= self._frame_bytes:
                sizes = sizes_of(self._entries, entries, end)
                return entries + bisect_left(list(accumulate(sizes, initial=size)), self._frame_bytes)
            entries, size = end, size + more
        return entries

    def _fill(self, frame: _Frame, entries: int, pause: Callable[[], None]) -> None:
        """Put so many entries into an empty frame."""
        frame.entries = entries
        if not entries:
            return
        kinds, times, wheres, rows, rooms = (
            part_of(self._entries, part, 0, entries) for part in (KIND, TIME, WHERE, ROW, ROOM)
        )
        places = places_by_kind(kinds)
        if any(isinstance(kind, Loss) for kind in places):
            frame.losses = [one for one in kinds if isinstance(one, Loss)]
            # They have no time of their own: that of an event before.
            times = [0 if isinstance(one, Loss) else time for one, time in zip(kinds, times, strict=True)]
        ordered = sorted(times)
        if not self._timeline.is_plain(ordered[0]):
            times = self._timeline.slowed(times)
            ordered = sorted(times)
        if times[0] < frame.latest or times != ordered:
            # What lies between reading a clock and storing an event, other threads may use.
            times = list(accumulate(times, max, initial=frame.latest))[1:]
        frame.min_time = next((time for one, time in zip(kinds, times, strict=True) if not isinstance(one, Loss)), None)
        frame.latest = times[-1]
        frame.room = sum(rooms)
        groups = groups_of(places, (range(frame.first, frame.first + entries), times, wheres, rows), pause)
        for group in groups:
            frame.counts[group.type_id] += len(group.seqs)
        frame.built = build_frame(groups, pause, since=frame.anchor.offset)

    def _has_room_for_the_end(self, frame: _Frame) -> bool:
        """Tell whether everything is in `frame`, and an event more fits in."""
        waiting = frame.entries * WIDTH < len(self._entries) or frame.losses
        return not (self.ended or waiting) and len(frame.built.raw) + MAX_EVENT_BYTES <= MAX_BATCH_BYTES

    def _end(self, frame: _Frame, ending: LastEvent, seq: int, losses: Counter[tuple[str, int]]) -> None:
        """Add the last event, which knows what was offered and lost before it."""
        self._ending_fails = True
        payload = ending.build(seq, losses)
        self._ending_fails = False
        frame.ends = True
        if len(payload) > MAX_EVENT_BYTES:
            frame.losses.append(Loss(self._types[ending.type_id].full_name, TOO_LARGE))
            return
        offset = frame.anchor.offset
        frame.latest = max(frame.latest, self._timeline.unix_nano(ending.time) - offset)
        if frame.min_time is None:
            frame.min_time = frame.latest
        last = frame_event(ending.type_id, offset + frame.latest, seq, b"", payload)
        frame.built = frame.built._replace(raw=frame.built.raw + last)
        frame.counts[ending.type_id] += 1

    def _commit(self, frame: _Frame, seq: int, losses: int) -> None:
        """Make the batch, and release its entries: all that can fail comes before anything is changed."""
        batch = self._batch(frame, seq) if frame.counts else None
        given = Given(seq, losses, self.given.recorded + frame.counts, frame.latest + frame.anchor.offset)
        self.version = None
        for one in frame.losses:
            self._ledger.count(one.full_name, one.cause)
        self.given, self.batch, self.spent = given, batch, frame.room
        self.ended |= frame.ends
        self._release(frame.entries)
        self.version = object()

    def _batch(self, frame: _Frame, last_seq: int) -> Batch:
        began = frame.anchor.offset
        return Batch.of_raw(
            frame.built.raw,
            frame.counts,
            (self._covered + 1, last_seq),
            (began + (frame.min_time or 0), began + frame.latest),
            new_types=[(number, self._types[number]) for number in frame.counts if number not in self._declared],
            anchor=frame.anchor,
            batch_range=frame.built.batch_range,
            step_range=frame.built.step_range,
        )


def _let_others_run() -> None:
    time.sleep(0)


def _go_on() -> None:
    """Hold the interpreter: a writer that is behind and released it ten times a frame would never catch up."""
