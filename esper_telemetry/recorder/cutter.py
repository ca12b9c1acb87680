"""Cuts what waits in the buffer into batches of one frame each: numbers, stamps and joins events. Writer thread only.

The position of an entry in the deque is its number, so a number cannot be given out without an event (or a counted
loss) behind it. Entries leave the deque into `taken` by one C call, and `taken` only when the batch that holds them is
made: a cut that an exception breaks off is done again from the same entries. It never writes, and never waits for
anything but the interpreter.

Other threads may read; while `version` is None, or when it changed between two readings, what they read does not
belong together.
"""

from __future__ import annotations

import itertools
import time
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.recorder.ledger import TOO_LARGE
from esper_telemetry.schema import MAX_BATCH_BYTES, MAX_EVENT_BYTES, Batch
from esper_telemetry.schema.envelope import EnvelopeParts, Joined, join_events

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Mapping

    from esper_telemetry.clock import Anchor
    from esper_telemetry.recorder.ledger import LossLedger
    from esper_telemetry.recorder.timeline import Timeline
    from esper_telemetry.schema import EventType

# Per event in the deque: envelope, monotonic time, payload. Flat, because a tuple for each would be an object that the
# garbage collector follows.
WIDTH = 3
# Events whose envelopes are joined before another thread may run: 0.1 ms of the interpreter.
_SLICE = 256
_NO_TYPE = 0


class Loss(EnvelopeParts):
    """An entry in the place of an event that could not be built: it has a number, and is counted when it is taken.

    Attributes:
        full_name: full message name of the event.
        cause: DropCause number.
    """

    __slots__ = ("cause", "full_name")

    def __init__(self, full_name: str, cause: int) -> None:
        super().__init__(_NO_TYPE, b"")
        self.full_name = full_name
        self.cause = cause


class Given(NamedTuple):
    """What was taken from the deque so far; replaced as a whole.

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
        envelope: of its type and context.
        time: monotonic, nanoseconds.
        build: makes the payload from its number and the losses before it, by type and cause.
    """

    envelope: EnvelopeParts
    time: int
    build: Callable[[int, Counter[tuple[str, int]]], bytes]


@dataclass(slots=True)
class _Frame:
    """A frame in the making. Until `_drop_losses`, entries of losses are in it as events of no type.

    Times in it are monotonic ones: the offset of its anchor makes wall time of them.
    """

    first: int
    latest: int
    anchor: Anchor
    events: list[bytes] = field(default_factory=list)
    type_ids: list[int] = field(default_factory=list)
    size: int = 0
    room: int = 0
    min_time: int | None = None
    entries: int = 0
    losses: list[Loss] = field(default_factory=list)
    ends: bool = False


class FrameCutter:
    """Makes batches of entries.

    Args:
        entries: WIDTH values an event; others append to it, only this class takes from it.
        ledger: where entries of losses are counted.
        types: the type table; it may grow.
        timeline: makes times of monotonic ones.
        frame_bytes: size at which a frame is cut.

    Attributes:
        taken: entries that are in no batch yet.
        given: what was taken so far.
        batch: the batch that was made last and not yet settled (written or dropped).
        spent: what the entries of the last cut had been reckoned at, in bytes.
        ended: the ending is in a batch.
        version: changes with every change of the above; None during one.
    """

    def __init__(
        self,
        entries: deque[Any],
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
        self.taken: list[Any] = []
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
        waiting = (len(self.taken) + len(self._entries)) // WIDTH
        return given.seq + waiting + self._ledger.total - given.losses

    def cut(self, *, patient: bool, ending: LastEvent | None = None) -> None:
        """Make a batch of the next entries, up to the size of a frame; none is made where there is nothing to write.

        A patient cut releases the interpreter between slices. It gets it back when the training thread waits for
        something, or after 5 ms: a writer that is behind and released it ten times a frame would never catch up.

        Args:
            patient: let others run.
            ending: goes into the batch that empties the deque.
        """
        anchor = self._timeline.anchor
        frame = _Frame(self.given.seq + 1, self.given.latest - anchor.offset, anchor)
        while frame.size < self._frame_bytes and self._add_slice(frame):
            if patient:
                time.sleep(0)
        if _NO_TYPE in frame.type_ids:
            self._drop_losses(frame)
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
        elif self.taken:
            self._drop_taken(cause)
        elif self._ending_fails:
            self.ended = True

    def drop_all(self, cause: int) -> None:
        """Count everything that was not written as lost."""
        if self.batch is not None:
            self._drop_batch(self.batch, cause)
        self._pull(len(self._entries) // WIDTH)
        self._drop_taken(cause)

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

    def _drop_taken(self, cause: int) -> None:
        self.version = None
        for parts in self.taken[::WIDTH]:
            self._count(parts, cause)
        events, given = len(self.taken) // WIDTH, self.given
        self.given = given._replace(seq=given.seq + events, losses=given.losses + events)
        self.taken.clear()
        self.version = object()

    def _add_slice(self, frame: _Frame) -> bool:
        """Join some entries more; return False if there are none, or if the frame is full."""
        start = frame.entries * WIDTH
        if start == len(self.taken) and not self._pull(self._slice_events(frame)):
            return False
        entries = self.taken[start : start + _SLICE * WIDTH]
        if not self._timeline.is_plain(entries[1]):
            entries[1::WIDTH] = self._timeline.slowed(entries[1::WIDTH])
        joined = self._join(frame, entries)
        size = sum(map(len, joined.events))
        if frame.size + size > self._frame_bytes:
            fit = _fitting(joined.events, frame.size, self._frame_bytes)
            if fit < len(joined.events):
                entries = entries[: fit * WIDTH]
                joined = self._join(frame, entries)
                size = sum(map(len, joined.events))
        if not entries:
            return False
        type_ids = [parts.type_id for parts in entries[::WIDTH]]
        if frame.min_time is None:
            first = next((time for number, time in zip(type_ids, entries[1::WIDTH], strict=True) if number), None)
            frame.min_time = None if first is None else max(frame.latest, first)
        frame.latest = joined.latest
        frame.events += joined.events
        frame.type_ids += type_ids
        frame.entries += len(type_ids)
        frame.size += size
        frame.room += joined.room
        return True

    def _join(self, frame: _Frame, entries: list[Any]) -> Joined:
        return join_events(entries, frame.anchor.offset, frame.first + frame.entries, frame.latest)

    def _slice_events(self, frame: _Frame) -> int:
        """Return how many entries to take at once: to the end of the frame, if they are like the next one."""
        waiting = len(self._entries) // WIDTH
        if not waiting:
            return 0
        size: int = self._entries[0].room + len(self._entries[2])
        return min(waiting, _SLICE, 1 + (self._frame_bytes - frame.size) // size)

    def _pull(self, events: int) -> bool:
        """Move so many entries from the deque to `taken`."""
        self.version = None
        self.taken.extend(itertools.starmap(self._entries.popleft, itertools.repeat((), events * WIDTH)))
        self.version = object()
        return events > 0

    def _has_room_for_the_end(self, frame: _Frame) -> bool:
        """Tell whether everything is in `frame`, and an event more fits in."""
        waiting = self._entries or frame.entries * WIDTH < len(self.taken) or frame.losses
        return not (self.ended or waiting) and frame.size + MAX_EVENT_BYTES <= MAX_BATCH_BYTES

    def _end(self, frame: _Frame, ending: LastEvent, seq: int, losses: Counter[tuple[str, int]]) -> None:
        """Add the last event, which knows what was offered and lost before it."""
        self._ending_fails = True
        payload = ending.build(seq, losses)
        self._ending_fails = False
        frame.ends = True
        if len(payload) > MAX_EVENT_BYTES:
            frame.losses.append(Loss(self._types[ending.envelope.type_id].full_name, TOO_LARGE))
            return
        offset = frame.anchor.offset
        frame.latest = max(frame.latest, self._timeline.unix_nano(ending.time) - offset)
        if frame.min_time is None:
            frame.min_time = frame.latest
        frame.events += join_events((ending.envelope, frame.latest, payload), offset, seq).events
        frame.size += len(frame.events[-1])
        frame.type_ids.append(ending.envelope.type_id)

    def _drop_losses(self, frame: _Frame) -> None:
        """Take the entries of losses out of `frame`; they are counted when it is committed."""
        parts = self.taken[: frame.entries * WIDTH : WIDTH]
        frame.losses = [one for one in parts if one.type_id == _NO_TYPE]
        frame.events = [event for event, number in zip(frame.events, frame.type_ids, strict=True) if number]
        frame.type_ids = list(filter(None, frame.type_ids))
        frame.size = sum(map(len, frame.events))

    def _commit(self, frame: _Frame, seq: int, losses: int) -> None:
        """Make the batch, and release its entries: all that can fail comes before anything is changed."""
        used = frame.entries * WIDTH
        counts = Counter(frame.type_ids)
        batch = self._batch(frame, counts, seq) if frame.events else None
        given = Given(seq, losses, self.given.recorded + counts, frame.latest + frame.anchor.offset)
        self.version = None
        for one in frame.losses:
            self._ledger.count(one.full_name, one.cause)
        self.given, self.batch, self.spent = given, batch, frame.room
        self.ended |= frame.ends
        del self.taken[:used]
        self.version = object()

    def _batch(self, frame: _Frame, counts: Counter[int], last_seq: int) -> Batch:
        return Batch(
            raw=b"".join(frame.events),
            type_counts=counts,
            records=len(frame.events),
            first_seq=self._covered + 1,
            last_seq=last_seq,
            min_time=frame.anchor.offset + (frame.min_time or 0),
            max_time=frame.anchor.offset + frame.latest,
            new_types=[(number, self._types[number]) for number in counts if number not in self._declared],
            anchor=frame.anchor,
        )

    def _count(self, parts: EnvelopeParts, cause: int) -> None:
        """Count the event of an entry as lost; an entry of a loss keeps its own cause."""
        if isinstance(parts, Loss):
            self._ledger.count(parts.full_name, parts.cause)
        else:
            self._ledger.count(self._types[parts.type_id].full_name, cause)


def _fitting(events: list[bytes], size: int, frame_bytes: int) -> int:
    """Return how many of `events` belong to a frame of so many bytes: up to the one that fills it."""
    sizes = list(itertools.accumulate(map(len, events), initial=size))
    fit = min(bisect_left(sizes, frame_bytes), len(events))
    return fit if sizes[fit] <= MAX_BATCH_BYTES else fit - 1
