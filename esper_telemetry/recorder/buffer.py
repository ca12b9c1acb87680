"""The bounded buffer between the training thread and the writer thread.

It gives every event its number and its time, sheds by class when it is full, and seals what it
holds into parts of one frame each. Nothing in it waits for a disk: the lock is held for the length of a few
list appends, and a writer that is behind is offered the interpreter, once a frame. Envelopes are joined in
the writer thread, in slices that leave the interpreter to others.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.recorder.ledger import BUFFER_FULL, SHUTDOWN, TOO_LARGE, LossLedger
from esper_telemetry.recorder.timeline import Timeline
from esper_telemetry.schema import MAX_BATCH_BYTES, MAX_EVENT_BYTES, Batch, EventType
from esper_telemetry.schema.envelope import join_events
from esper_telemetry.v1 import options_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.clock import Clock
    from esper_telemetry.recorder.options import RecordOptions
    from esper_telemetry.schema.encoder import PayloadEncoders
    from esper_telemetry.schema.envelope import EnvelopeParts
    from esper_telemetry.v1 import run_pb2

# Per event in the list of entries: envelope, number, monotonic time, payload. Flat, because a tuple for each
# would be an object that the garbage collector follows.
_WIDTH = 4
# Events whose envelopes are joined before another thread may run: 0.1 ms of the interpreter.
_SLICE = 256
# Per-step detail is refused from here on, so that the rest of the buffer is left to what sheds later.
_FIRST_SHARE = 0.75
# Parts that wait while the writer is behind, because a loop that does nothing but emit leaves it no interpreter: each
# time it wants it, it gets it after 5 ms only. It needs it about so often for a frame.
_BEHIND = 4
_TURNS = 4


class Plan(NamedTuple):
    """What emitting one type in one context needs, computed once.

    Attributes:
        type: the event type.
        envelope: what of the envelope depends on type and context alone.
        limit: bytes in the buffer above which this type is shed.
        urgent: written within 50 ms.
        encoders: from the fields of a call to the payload.
    """

    type: EventType
    envelope: EnvelopeParts
    limit: int
    urgent: bool
    encoders: PayloadEncoders


class _Sealed(NamedTuple):
    """Events that will be one frame.

    Attributes:
        entries: _WIDTH values an event.
        first_seq: first number it covers.
        last_seq: last number it covers.
        size: bytes it takes at most.
        new_types: types first used in it.
    """

    entries: list[Any]
    first_seq: int
    last_seq: int
    size: int
    new_types: list[tuple[int, EventType]]

    @property
    def type_ids(self) -> list[int]:
        """The type of each event."""
        return _type_ids(self.entries)


def _let_others_run() -> None:
    """Offer the interpreter to the writer, once for each time that a frame makes it ask; nobody waits who is not asked.

    Without it, of a million events emitted in a tight loop 300,000 were lost to a full buffer; with it none.
    """
    for _ in range(_TURNS):
        time.sleep(0)


def _type_ids(entries: list[Any]) -> list[int]:
    return [envelope.type_id for envelope in entries[::_WIDTH]]


class Buffer:
    """Events on their way to the writer thread.

    Attributes:
        wake: set when the writer has something to do before its interval is over.
        ledger: what was lost.
        last_seq: last number given out: the events offered so far.
        high_water: most bytes that ever waited.
        timeline: what makes times of monotonic ones. Writer thread only.
    """

    def __init__(self, options: RecordOptions, clock: Clock) -> None:
        """Start the timeline: events are stamped with monotonic time, and get their own when they are joined."""
        self._lock = threading.Lock()
        self._monotonic = clock.monotonic_ns
        self.timeline = Timeline(clock)
        self._frame_bytes = options.frame_bytes
        self._limits: dict[int, int] = {
            options_pb2.SHEDDING_FIRST: int(options.buffer_bytes * _FIRST_SHARE),
            options_pb2.SHEDDING_LATER: options.buffer_bytes,
            options_pb2.SHEDDING_NEVER: options.buffer_bytes + options.reserve_bytes,
        }
        self.wake = threading.Event()
        self.ledger = LossLedger()
        self.last_seq = 0
        self._recorded: Counter[int] = Counter()
        self.high_water = 0
        self._closed = False
        self._urgent = False
        self._held = 0  # bytes in sealed parts and batches that the sink has not taken yet
        self._sealed: deque[_Sealed] = deque()
        self._joining: list[_Sealed] = []
        self._new_types: list[tuple[int, EventType]] = []
        self._first_seq = 1
        # `with` on a lock costs 0.08 us more than its two methods: a tenth of an append (CPython 3.11).
        self._acquire, self._release = self._lock.acquire, self._lock.release
        self._start()

    def _start(self) -> None:
        self._entries: list[Any] = []
        self._extend = self._entries.extend
        self._size = 0

    def limit(self, shedding: int) -> int:
        """Return the bytes above which events of a Shedding class are dropped."""
        return self._limits[shedding]

    def declare(self, type_id: int, event_type: EventType) -> None:
        """Let the next batch carry a type that the file does not know yet."""
        with self._lock:
            self._new_types.append((type_id, event_type))

    def append(self, plan: Plan, payload: bytes, *, last: bool = False) -> bool:
        """Number, stamp and store one event; return False if it was shed (and counted), or came after the last.

        It is one long function on purpose: a call inside it costs a tenth of what it does.

        Args:
            plan: of the event's type and context.
            payload: the serialized event message.
            last: the one event that a closed buffer takes.
        """
        one, envelope, limit, urgent, _ = plan
        length = len(payload)
        self._acquire()
        try:
            if self._closed and not last:
                return False
            self.last_seq = seq = self.last_seq + 1
            size = self._size + envelope.room + length
            if self._held + size > limit or length > MAX_EVENT_BYTES:
                self._shed(one, length)
                return False
            if size > MAX_BATCH_BYTES:
                self._seal(seq - 1)
                size = envelope.room + length
            self._extend((envelope, seq, self._monotonic(), payload))
            self._size = size
            if size >= self._frame_bytes:
                self._seal(seq)
                self.wake.set()
                behind = len(self._sealed) >= _BEHIND
            else:
                behind = False
                if urgent and not self._urgent:
                    self._urgent = True
                    self.wake.set()
        finally:
            self._release()
        if behind:
            _let_others_run()
        return True

    def append_last(self, plan: Plan, build: Callable[[int, LossLedger], bytes]) -> None:
        """Store the last event: its payload is built knowing all that was offered and lost before."""
        with self._lock:
            self._closed = True
            payload = build(self.last_seq + 1, self.ledger)
        self.append(plan, payload, last=True)

    def _shed(self, one: EventType, length: int) -> None:
        self.ledger.count(one.full_name, TOO_LARGE if length > MAX_EVENT_BYTES else BUFFER_FULL)
        self.wake.set()

    def lose(self, full_name: str, cause: int) -> None:
        """Number an event that could not even be built, and count it as lost."""
        with self._lock:
            if not self._closed:
                self.last_seq += 1
                self.ledger.count(full_name, cause)

    def _seal(self, last_seq: int) -> None:
        """Close the current part; it covers every number from the part before up to `last_seq`."""
        if not self._entries:
            return
        self._sealed.append(_Sealed(self._entries, self._first_seq, last_seq, self._size, self._new_types))
        self._new_types = []
        self._first_seq = last_seq + 1
        self._held += self._size
        self.high_water = max(self.high_water, self._held)
        self._start()

    def counted(self) -> Counter[int]:
        """Return the events accepted so far, by type id."""
        with self._lock:
            waiting = [*(part.type_ids for part in (*self._joining, *self._sealed)), _type_ids(self._entries)]
            return self._recorded + Counter(itertools.chain.from_iterable(waiting))

    @property
    def urgent(self) -> bool:
        """An event that is never shed is waiting."""
        return self._urgent

    def take(self) -> list[Batch]:
        """Return everything that waits, as batches of one frame each. Writer thread only."""
        with self._lock:
            self._seal(self.last_seq)
            self._urgent = False
            parts, self._sealed = self._sealed, deque()
            self._joining += parts
        batches: list[Batch] = []
        patient = len(parts) == 1
        while parts:  # one by one, so that a part is let go when its batch has taken its place
            batches.append(self._joined(parts.popleft(), patient=patient))
        return batches

    def _joined(self, part: _Sealed, *, patient: bool) -> Batch:
        """Make a batch of a part: its envelopes are joined, which costs more than `append`.

        A patient writer lets go of the interpreter between slices. It gets it back when the training thread waits for
        something, or after 5 ms: one that is behind and let go ten times a frame would never catch up.
        """
        entries = part.entries
        anchor = self.timeline.anchor
        if not self.timeline.is_plain(entries[2]):
            entries[2::_WIDTH] = self.timeline.slowed(entries[2::_WIDTH])
        events: list[bytes] = []
        for start in range(0, len(entries), _WIDTH * _SLICE):
            events += join_events(entries[start : start + _WIDTH * _SLICE], anchor.offset)
            if patient:
                time.sleep(0)
        raw_size = sum(map(len, events))
        type_ids = part.type_ids
        counts = Counter(type_ids)
        with self._lock:
            self._joining.remove(part)
            self._recorded.update(counts)
            self._held += raw_size - part.size
        return Batch(
            events=events,
            type_ids=type_ids,
            first_seq=part.first_seq,
            last_seq=part.last_seq,
            min_time=anchor.offset + entries[2],
            max_time=anchor.offset + entries[2 - _WIDTH],
            raw_size=raw_size,
            new_types=part.new_types,
            anchor=anchor,
        )

    def written(self, batch: Batch) -> None:
        """Free the room of a batch that the sink has taken."""
        with self._lock:
            self._held -= batch.raw_size

    def give_up(self, batches: list[Batch], names: dict[int, str]) -> None:
        """Count the events of `batches` as lost because the process ends."""
        with self._lock:
            for batch in batches:
                for type_id in batch.type_ids:
                    self.ledger.count(names[type_id], SHUTDOWN)
                self._held -= batch.raw_size

    def take_back(self, events: Counter[int], names: dict[int, str], cause: int) -> None:
        """Count events that were recorded, by type id, as lost: what held them is gone."""
        with self._lock:
            self._recorded.subtract(events)
            for type_id, count in events.items():
                self.ledger.count(names[type_id], cause, count)

    def unreported_losses(self) -> tuple[list[run_pb2.DropCount], int, int]:
        """Return the losses since the last call, all losses and all events offered."""
        with self._lock:
            return self.ledger.take_unreported(), self.ledger.total, self.last_seq
