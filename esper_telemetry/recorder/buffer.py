"""The bounded buffer between the threads that emit and the writer thread.

There is no lock. Storing an event is one C call, `deque.extend`: a signal, an asynchronous exception, a finalizer or
another thread comes before it or after it and never in between, and may emit itself. Numbers are given by position when
the writer thread takes the events (cutter.py), so none can be given out without something behind it; what was offered
is always derived, as recorded + lost, and never kept a second time.

What waits is bounded by bytes and shed by class. Their sum is a plain attribute: CPython looks for signals, exceptions
and other threads at calls and backward jumps only, none of which lies between reading and storing it; where an
interpreter did otherwise, the sum would be off by an event until the buffer is next empty. Nothing here waits for a
disk; a writer that is behind is offered the interpreter, once a frame.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.recorder.cutter import WIDTH, FrameCutter, LastEvent, Loss
from esper_telemetry.recorder.ledger import BUFFER_FULL, TOO_LARGE, WRITER_FAILED, LateEvents, LossLedger
from esper_telemetry.recorder.timeline import Timeline
from esper_telemetry.schema import MAX_EVENT_BYTES, Batch, EventType
from esper_telemetry.v1 import options_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from esper_telemetry.clock import Clock
    from esper_telemetry.recorder.options import RecordOptions
    from esper_telemetry.recorder.wakeup import Wakeup
    from esper_telemetry.schema.encoder import PayloadEncoders
    from esper_telemetry.schema.envelope import EnvelopeParts
    from esper_telemetry.v1 import run_pb2

# Per-step detail is refused from here on, so that the rest of the buffer is left to what sheds later.
_FIRST_SHARE = 0.75
# Frames that wait while the writer is behind, because a loop that does nothing but emit leaves it no interpreter: each
# time it wants it, it gets it after 5 ms only. It needs it about so often for a frame.
_BEHIND = 4
_TURNS = 4
# Readings of the account that the writer thread may disturb: it does so for microseconds, once a slice.
_READINGS = 100


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

    def within(self, context: bytes) -> Plan:
        """Return the plan in another context (serialized): only its envelope changes."""
        envelope = self.envelope.within(context)
        # As Plan(...) does it, at a third of its price: a context may be bound for a single event.
        return tuple.__new__(Plan, (self.type, envelope, self.limit, self.urgent, self.encoders))


class Account(NamedTuple):
    """What became of the events so far; what was offered is the sum of both.

    Attributes:
        recorded: events accepted and not lost since, by type id.
        losses: events lost, by (full message name, DropCause number).
    """

    recorded: Counter[int]
    losses: Counter[tuple[str, int]]

    @property
    def offered(self) -> int:
        """Events offered."""
        return self.recorded.total() + self.losses.total()


def _let_others_run() -> None:
    """Offer the interpreter to the writer, once for each time that a frame makes it ask for it.

    Without it, of a million events emitted in a tight loop 300,000 were lost to a full buffer; with it none.
    """
    for _ in range(_TURNS):
        time.sleep(0)


class Buffer:
    """Events on their way to the writer thread.

    `append`, `lose`, `end` and `account` may be called by any thread and from signal handlers and finalizers;
    `take`, `written` and `drop` by one thread at a time.

    Args:
        options: limits.
        clock: stamps the events.
        types: the type table, as in the first header; it may grow.
        wakeup: set when the writer has something to do before its interval is over.

    Attributes:
        ledger: what was lost.
        late: what came after the end.
        high_water: most bytes that ever waited.
        timeline: makes times of monotonic ones. Writer thread only.
    """

    def __init__(self, options: RecordOptions, clock: Clock, types: Mapping[int, EventType], wakeup: Wakeup) -> None:
        self._monotonic = clock.monotonic_ns
        self.timeline = Timeline(clock)
        self._wakeup = wakeup
        self._frame_bytes = options.frame_bytes
        self._limits: dict[int, int] = {
            options_pb2.SHEDDING_FIRST: int(options.buffer_bytes * _FIRST_SHARE),
            options_pb2.SHEDDING_LATER: options.buffer_bytes,
            options_pb2.SHEDDING_NEVER: options.buffer_bytes + options.reserve_bytes,
        }
        self.ledger = LossLedger()
        self.late = LateEvents()
        self.high_water = 0
        self._entries: deque[Any] = deque()
        self._extend = self._entries.extend
        self._cutter = FrameCutter(
            self._entries, self.ledger, types, timeline=self.timeline, frame_bytes=options.frame_bytes
        )
        self._types = types
        self._in = 0  # bytes that were ever stored
        self._out = 0  # bytes of them that the sink has
        self._out_next = 0  # the same when it has the batch in hand
        self._wake_at = options.frame_bytes  # bytes ever stored at which the writer is woken
        self._urgent = False
        self._closed = False
        self._over: int | None = None  # cause for which what waits is lost
        self._ending: LastEvent | None = None

    def limit(self, shedding: int) -> int:
        """Return the bytes above which events of a Shedding class are dropped."""
        return self._limits[shedding]

    def append(self, plan: Plan, payload: bytes) -> bool:
        """Stamp and store one event; return False if it was shed (and counted), or came after the last.

        It is one function on purpose: a call inside it costs a tenth of what it does.
        """
        _, envelope, limit, urgent, _ = plan
        room = envelope.room + len(payload)
        size = self._in + room
        if size - self._out > limit or room > MAX_EVENT_BYTES or self._closed:
            return self._refuse(plan, room)
        self._in = size
        self._extend((envelope, self._monotonic(), payload))
        if size > self._wake_at or urgent:
            self._attend(size, urgent=urgent)
        return True

    def lose(self, full_name: str, cause: int) -> None:
        """Count an event that could not even be built as lost; its number shows where, as far as there is room."""
        loss = Loss(full_name, cause)
        size = self._in + loss.room
        if self._closed:
            self._count_late(full_name)
        elif size - self._out > self._limits[options_pb2.SHEDDING_LATER]:
            self.ledger.count(full_name, cause)
        else:
            self._in = size
            self._extend((loss, 0, b""))

    def _refuse(self, plan: Plan, room: int) -> bool:
        """Count an event that is not stored."""
        if self._closed:
            self._count_late(plan.type.full_name)
        else:
            self.ledger.count(plan.type.full_name, TOO_LARGE if room > MAX_EVENT_BYTES else BUFFER_FULL)
            self._wakeup.set()
        return False

    def _count_late(self, full_name: str) -> None:
        """Count an event that comes after the end, be it that of the run or that of its writer."""
        if self._over == WRITER_FAILED:
            self.ledger.count(full_name, WRITER_FAILED)
        else:
            self.late.count(full_name)

    def _attend(self, size: int, *, urgent: bool) -> None:
        """Wake the writer for a frame that is full, or for an event that is not to wait."""
        if size > self._wake_at:
            self._wakeup.set()
            self._wake_at = size + self._frame_bytes
            waiting = size - self._out
            self.high_water = max(self.high_water, waiting)
            if waiting > _BEHIND * self._frame_bytes:
                _let_others_run()
        elif urgent and not self._urgent:
            self._wakeup.set()
            self._urgent = True

    @property
    def urgent(self) -> bool:
        """An event that is never shed is waiting."""
        return self._urgent

    @property
    def stored_bytes(self) -> int:
        """Bytes of all events that were ever stored: it grows with each, before the event has a number."""
        return self._in

    @property
    def last_seq(self) -> int:
        """Events offered so far."""
        return self._cutter.numbered

    def account(self) -> Account:
        """Return what became of the events so far. It takes time with the events that wait."""
        waiting, recorded, losses = self._reading()
        for parts, events in Counter(waiting[::WIDTH]).items():
            if isinstance(parts, Loss):
                losses[parts.full_name, parts.cause] += events
            elif self._over is not None:
                losses[self._types[parts.type_id].full_name, self._over] += events
            else:
                recorded[parts.type_id] += events
        return Account(recorded, losses + self.late.losses)

    def _reading(self) -> tuple[list[Any], Counter[int], Counter[tuple[str, int]]]:
        """Return the entries that wait, what was taken and what was lost, all of one moment."""
        cutter = self._cutter
        for _ in range(_READINGS):
            version = cutter.version
            read = [*cutter.taken, *self._entries], Counter(cutter.given.recorded), self.ledger.losses
            if version is not None and version is cutter.version:
                break
            time.sleep(0)
        return read

    def end(self, plan: Plan, build: Callable[[int, Counter[tuple[str, int]]], bytes]) -> None:
        """Accept no more events but a last one, the first given, which is built when all before it have numbers."""
        if self._ending is None:
            self._ending = LastEvent(plan.envelope, self._monotonic(), build)
        self._closed = True

    @property
    def taken_seq(self) -> int:
        """Last number given out: it moves on with every batch."""
        return self._cutter.given.seq

    def take(self) -> Batch | None:
        """Return the next frame's batch, or None if nothing waits; the same one until it was written or dropped."""
        cutter = self._cutter
        self._urgent = False
        while cutter.batch is None and self._pending():
            cutter.cut(patient=self._in - self._out < 2 * self._frame_bytes, ending=self._ending)
            self._reckon(cutter.spent)
        return cutter.batch

    def _pending(self) -> bool:
        """Something is in no batch yet."""
        last = self._ending is not None and not self._cutter.ended
        return last or bool(self._entries or self._cutter.taken)

    def _reckon(self, spent: int) -> None:
        """Note what will be free when the batch in hand is."""
        stored = self._in
        self.high_water = max(self.high_water, stored - self._out)
        if self._entries or self._cutter.taken:
            self._out_next += spent
        else:  # whatever the sum was off by is forgotten
            self._out_next = stored
            self._wake_at = stored + self._frame_bytes
        if self._cutter.batch is None:
            self._out = self._out_next

    def written(self) -> None:
        """Free the room of the batch in hand: the sink has it."""
        self._cutter.written()
        self._out = self._out_next

    def drop(self, cause: int) -> None:
        """Count the events of the batch in hand as lost, or those that no batch could be made of."""
        self._cutter.drop(cause)
        self._out = self._out_next

    def drop_all(self, cause: int) -> None:
        """Count everything that was not written as lost: nothing is written any more."""
        self.stop(cause)
        self._cutter.drop_all(cause)
        self._out = self._out_next = self._in

    def take_back(self, events: Counter[int], cause: int) -> None:
        """Count events that were written, by type id, as lost: what held them is gone. Writer thread only."""
        self._cutter.take_back(events, cause)

    def stop(self, cause: int) -> None:
        """Take no more: what waits is lost for `cause`, and so is what a thread is just about to store."""
        self._over = cause
        self._closed = True

    def unreported_losses(self) -> tuple[list[run_pb2.DropCount], int, int]:
        """Return the losses since the last call, all losses and all events offered. Writer thread only."""
        return self.ledger.take_unreported(), self.ledger.total, self.last_seq
