"""The bounded buffer between the threads that emit and the writer thread.

There is no lock. Storing an event is one C call, `list.extend`: a signal, an asynchronous exception, a finalizer or
another thread comes before it or after it and never in between, and may emit itself. Numbers are given by position when
the writer thread takes the events (cutter.py), so none can be given out without something behind it; what was offered
is always derived, as recorded + lost, and never kept a second time.

What waits is bounded by the bytes that it takes in memory, and shed by class. Their sum is a plain attribute: CPython
looks for signals, exceptions and other threads at calls and backward jumps only, none of which lies between reading and
storing it; where an interpreter did otherwise, the sum would be off by an event until the buffer is next empty. Nothing
here waits for a disk; a writer that is behind is offered the interpreter, once a frame.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.recorder.cutter import FrameCutter, LastEvent
from esper_telemetry.recorder.ledger import BUFFER_FULL, WRITER_FAILED, LateEvents, LossLedger
from esper_telemetry.recorder.plans import NOWHERE
from esper_telemetry.recorder.timeline import Timeline
from esper_telemetry.recorder.waiting import WIDTH, Loss
from esper_telemetry.v1 import options_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from esper_telemetry.clock import Clock
    from esper_telemetry.recorder.options import RecordOptions
    from esper_telemetry.recorder.plans import EntryKind, Where
    from esper_telemetry.recorder.wakeup import Wakeup
    from esper_telemetry.schema import Batch, EventType
    from esper_telemetry.v1 import run_pb2

# Per-step detail is refused from here on, so that the rest of the buffer is left to what sheds later.
_FIRST_SHARE = 0.75
# Frames that wait while the writer is behind, because a loop that does nothing but emit leaves it no interpreter: each
# time it wants it, it gets it after 5 ms only. It needs it about so often for a frame.
_BEHIND = 2
_TURNS = 4
# An event takes so many times the bytes in memory that it takes in a frame, about: the writer is woken for a frame.
_HELD_IN_A_FRAME = 8
# However small the buffer is, the writer is woken long before it is full.
_PORTIONS = 8
# Readings of the account that the writer thread may disturb: it does so for microseconds, once a slice.
_READINGS = 100


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


def _let_others_run(turns: int) -> None:
    """Offer the interpreter to the writer, once for each time that a frame makes it ask for it.

    Without it, of a million events emitted in a tight loop 300,000 were lost to a full buffer; with it none.
    """
    for _ in range(turns):
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
        stored: bytes that were ever stored: it grows with each event, before that has a number.
        bound: up to what of `stored` an emitter may store events itself, of all that are not urgent; -1 after the end.
        where: context of the event before.
        extend: stores an entry.
        monotonic_ns: stamps it.
        ledger: what was lost.
        late: what came after the end.
        high_water: most bytes that ever waited.
        timeline: makes times of monotonic ones. Writer thread only.
    """

    def __init__(self, options: RecordOptions, clock: Clock, types: Mapping[int, EventType], wakeup: Wakeup) -> None:
        self.monotonic_ns = clock.monotonic_ns
        self.timeline = Timeline(clock)
        self._wakeup = wakeup
        self._portion = min(_HELD_IN_A_FRAME * options.frame_bytes, options.buffer_bytes // _PORTIONS)
        self._limits: dict[int, int] = {
            options_pb2.SHEDDING_FIRST: int(options.buffer_bytes * _FIRST_SHARE),
            options_pb2.SHEDDING_LATER: options.buffer_bytes,
            options_pb2.SHEDDING_NEVER: options.buffer_bytes + options.reserve_bytes,
        }
        self._least = min(self._limits.values())
        self.ledger = LossLedger()
        self.late = LateEvents()
        self.high_water = 0
        self._entries: list[Any] = []
        self.where: object = None  # context of the event before
        self.extend = self._entries.extend
        self._cutter = FrameCutter(
            self._entries, self.ledger, types, timeline=self.timeline, frame_bytes=options.frame_bytes
        )
        self._types = types
        self.stored = 0  # bytes that were ever stored
        self._out = 0  # bytes of them that the sink has
        self._out_next = 0  # the same when it has the batch in hand
        self._wake_at = self._portion  # bytes ever stored at which the writer is woken
        self._urgent = False
        self._closed = False
        self.bound = min(self._wake_at, self._least)
        self._over: int | None = None  # cause for which what waits is lost
        self._ending: LastEvent | None = None

    def _rebound(self) -> None:
        """Note up to where nothing has to be done for an event but storing it.

        Nothing comes between reading and storing here either; a value that is out of date is too low.
        """
        woken, least = self._wake_at, self._out + self._least
        self.bound = -1 if self._closed else woken if woken < least else least  # noqa: FURB136 - min() is a call

    def limit(self, shedding: int) -> int:
        """Return the bytes above which events of a Shedding class are dropped."""
        return self._limits[shedding]

    def append(self, kind: EntryKind, where: Where, row: Any, extra: int) -> bool:
        """Stamp and store one event; return False if it was shed (and counted), or came after the last.

        It is one function on purpose: a call inside it costs a tenth of what it does.

        Args:
            kind: what events like it have in common.
            where: its context, and the bytes that takes in memory: they are counted when it is another one than that
                of the event before, so that one that is bound once counts once.
            row: its values, or its message.
            extra: bytes of what the kind does not know: texts, the message.
        """
        room = kind.held + extra
        if where is not self.where:
            self.where = where
            room += where[1]
        size = self.stored + room
        if size - self._out > kind.limit or self._closed:
            self.refuse(kind.full_name, BUFFER_FULL)
            return False
        self.stored = size
        self.extend((kind, where, self.monotonic_ns(), row, room))
        if size > self._wake_at or kind.urgent:
            self._attend(size, urgent=kind.urgent)
        return True

    def lose(self, full_name: str, cause: int) -> None:
        """Count an event that could not even be built as lost; its number shows where, as far as there is room."""
        loss = Loss(full_name, cause)
        size = self.stored + loss.held
        if self._closed:
            self._count_late(full_name)
        elif size - self._out > self._limits[options_pb2.SHEDDING_LATER]:
            self.ledger.count(full_name, cause)
        else:
            self.stored = size
            self.extend((loss, NOWHERE, 0, None, loss.held))

    def refuse(self, full_name: str, cause: int) -> None:
        """Count an event that is not stored."""
        if self._closed:
            self._count_late(full_name)
        else:
            self.ledger.count(full_name, cause)
            self._wakeup.set()

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
            self._wake_at = size + self._portion
            self._rebound()
            waiting = size - self._out
            self.high_water = max(self.high_water, waiting)
            if waiting > _BEHIND * self._portion:
                _let_others_run(_TURNS * waiting // self._portion)
        elif urgent and not self._urgent:
            self._wakeup.set()
            self._urgent = True

    @property
    def urgent(self) -> bool:
        """An urgent event is waiting."""
        return self._urgent

    @property
    def last_seq(self) -> int:
        """Events offered so far."""
        return self._cutter.numbered

    def account(self) -> Account:
        """Return what became of the events so far. It takes time with the events that wait."""
        waiting, recorded, losses = self._reading()
        for kind, events in Counter(waiting[::WIDTH]).items():
            if isinstance(kind, Loss):
                losses[kind.full_name, kind.cause] += events
            elif self._over is not None:
                losses[kind.full_name, self._over] += events
            else:
                recorded[kind.type_id] += events
        return Account(recorded, losses + self.late.losses)

    def _reading(self) -> tuple[list[Any], Counter[int], Counter[tuple[str, int]]]:
        """Return the entries that wait, what was taken and what was lost, all of one moment."""
        cutter = self._cutter
        for _ in range(_READINGS):
            version = cutter.version
            read = list(self._entries), Counter(cutter.given.recorded), self.ledger.losses
            if version is not None and version is cutter.version:
                break
            time.sleep(0)
        return read

    def end(self, type_id: int, build: Callable[[int, Counter[tuple[str, int]]], bytes]) -> None:
        """Accept no more events but a last one, the first given, which is built when all before it have numbers."""
        if self._ending is None:
            self._ending = LastEvent(type_id, self.monotonic_ns(), build)
        self._closed = True
        self.bound = -1

    @property
    def taken_seq(self) -> int:
        """Last number given out: it moves on with every batch."""
        return self._cutter.given.seq

    def take(self) -> Batch | None:
        """Return the next frame's batch, or None if nothing waits; the same one until it was written or dropped."""
        cutter = self._cutter
        self._urgent = False
        while cutter.batch is None and self._pending():
            cutter.cut(patient=self.stored - self._out < 2 * self._portion, ending=self._ending)
            self._reckon(cutter.spent)
        return cutter.batch

    def _pending(self) -> bool:
        """Something is in no batch yet."""
        last = self._ending is not None and not self._cutter.ended
        return last or bool(self._entries)

    def _reckon(self, spent: int) -> None:
        """Note what will be free when the batch in hand is."""
        stored = self.stored
        self.high_water = max(self.high_water, stored - self._out)
        if self._entries:
            self._out_next += spent
        else:  # whatever the sum was off by is forgotten
            self._out_next = stored
            self._wake_at = stored + self._portion
        if self._cutter.batch is None:
            self._out = self._out_next
        self._rebound()

    def written(self) -> None:
        """Free the room of the batch in hand: the sink has it."""
        self._cutter.written()
        self._out = self._out_next
        self._rebound()

    def drop(self, cause: int) -> None:
        """Count the events of the batch in hand as lost, or those that no batch could be made of."""
        self._cutter.drop(cause)
        self._out = self._out_next
        self._rebound()

    def drop_all(self, cause: int) -> None:
        """Count everything that was not written as lost: nothing is written any more."""
        self.stop(cause)
        self._cutter.drop_all(cause)
        self._out = self._out_next = self.stored

    def take_back(self, events: Counter[int], cause: int) -> None:
        """Count events that were written, by type id, as lost: what held them is gone. Writer thread only."""
        self._cutter.take_back(events, cause)

    def stop(self, cause: int) -> None:
        """Take no more: what waits is lost for `cause`, and so is what a thread is just about to store."""
        self._over = cause
        self._closed = True
        self.bound = -1

    def unreported_losses(self) -> tuple[list[run_pb2.DropCount], int, int]:
        """Return the losses since the last call, all losses and all events offered. Writer thread only."""
        return self.ledger.take_unreported(), self.ledger.total, self.last_seq


class ClosedBuffer:
    """What emitters find in place of a buffer that they may not store events in themselves; attributes as of Buffer."""

    stored, bound = 0, -1
    where: object = None

    @staticmethod
    def extend(entry: tuple[Any, ...]) -> None:
        """Nothing is below its bound."""

    @staticmethod
    def monotonic_ns() -> int:
        """Nothing is stamped."""
        return 0


CLOSED = ClosedBuffer()
