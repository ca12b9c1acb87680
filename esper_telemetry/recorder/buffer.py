"""The bounded buffer between the training thread and the writer thread.

It gives every event its number and its time, joins its envelope, sheds by class when
it is full, and seals what it holds into batches of one frame each. Nothing in it
waits: the lock is held for the length of a few list appends.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.recorder.ledger import BUFFER_FULL, SHUTDOWN, TOO_LARGE, LossLedger
from esper_telemetry.schema import MAX_BATCH_BYTES, MAX_EVENT_BYTES, Batch, EventType
from esper_telemetry.schema.envelope import (
    ELEMENT_TAG,
    SEQ_LOW,
    SEQ_LOW_BITS,
    SEQ_TAG,
    SHORT_VARINTS,
    encode_varint,
    pack_time,
)
from esper_telemetry.v1 import options_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.clock import Clock
    from esper_telemetry.recorder.options import RecordOptions
    from esper_telemetry.v1 import run_pb2

_CACHED = len(SHORT_VARINTS)
_SEQ_LOW_MASK = len(SEQ_LOW) - 1
# Per-step detail is refused from here on, so that the rest of the buffer is left to what sheds later.
_FIRST_SHARE = 0.75


class Plan(NamedTuple):
    """What emitting one type in one context needs, computed once.

    Attributes:
        type: the event type.
        type_id: its number in the type table.
        head: constant bytes of the envelope before the time.
        middle: constant bytes between the number and the payload's length.
        limit: bytes in the buffer above which this type is shed.
        urgent: written within 50 ms.
    """

    type: EventType
    type_id: int
    head: bytes
    middle: bytes
    limit: int
    urgent: bool


class Buffer:
    """Events on their way to the writer thread.

    Attributes:
        wake: set when the writer has something to do before its interval is over.
        ledger: what was lost.
        last_seq: last number given out: the events offered so far.
        high_water: most bytes that ever waited.
    """

    def __init__(self, options: RecordOptions, clock: Clock) -> None:
        """Take both anchors of the clock; times are wall anchor + monotonic, so they never step back."""
        self._lock = threading.Lock()
        self._monotonic = clock.monotonic_ns
        self.anchor_unix_nano = clock.wall_ns()
        self.anchor_monotonic_nano = clock.monotonic_ns()
        self._offset = self.anchor_unix_nano - self.anchor_monotonic_nano
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
        self._waiting = 0  # bytes in sealed batches that the sink has not taken yet
        self._sealed: deque[Batch] = deque()
        self._new_types: list[tuple[int, EventType]] = []
        self._first_seq = 1
        self._seq_high = b""
        self._start()

    def _start(self) -> None:
        self._events: list[bytes] = []
        self._type_ids: list[int] = []
        self._size = 0
        self._min_time = 0
        self._max_time = 0

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
        one, type_id, head, middle, limit, urgent = plan
        length = len(payload)
        with self._lock:
            if self._closed and not last:
                return False
            self.last_seq = seq = self.last_seq + 1
            if self._waiting + self._size > limit or length > MAX_EVENT_BYTES:
                self._shed(one, length)
                return False
            if seq < _CACHED:
                number = SHORT_VARINTS[seq]
            else:  # the high part changes once in 16,384 events
                low = seq & _SEQ_LOW_MASK
                if low == 0 or not self._seq_high:
                    self._seq_high = encode_varint(seq >> SEQ_LOW_BITS)
                number = SEQ_LOW[low] + self._seq_high
            now = self._offset + self._monotonic()
            size = SHORT_VARINTS[length] if length < _CACHED else encode_varint(length)
            body = b"".join((head, pack_time(now), SEQ_TAG, number, middle, size, payload))
            length = len(body)
            event = ELEMENT_TAG + (SHORT_VARINTS[length] if length < _CACHED else encode_varint(length)) + body
            if self._size + len(event) > MAX_BATCH_BYTES:
                self._seal(seq - 1)
            if not self._events:
                self._min_time = now
            self._events.append(event)
            self._type_ids.append(type_id)
            self._max_time = now
            self._size = waiting = self._size + len(event)
            if waiting >= self._frame_bytes:
                self._seal(seq)
                self.wake.set()
            elif urgent and not self._urgent:
                self._urgent = True
                self.wake.set()
            return True

    def append_last(self, plan: Plan, build: Callable[[int, LossLedger], bytes]) -> None:
        """Store the last event: its payload is built knowing all that was offered and lost before."""
        with self._lock:
            self._closed = True
            payload = build(self.last_seq + 1, self.ledger)
        self.append(plan, payload, last=True)

    def _shed(self, one: EventType, length: int) -> None:
        self._seq_high = b""  # the number that would have renewed it may be this one
        self.ledger.count(one.full_name, TOO_LARGE if length > MAX_EVENT_BYTES else BUFFER_FULL)
        self.wake.set()

    def lose(self, full_name: str, cause: int) -> None:
        """Number an event that could not even be built, and count it as lost."""
        with self._lock:
            if not self._closed:
                self.last_seq += 1
                self._seq_high = b""  # as in _shed
                self.ledger.count(full_name, cause)

    def _seal(self, last_seq: int) -> None:
        """Close the current batch; it covers every number from the batch before up to `last_seq`."""
        if not self._events:
            return
        self._recorded.update(self._type_ids)
        self._sealed.append(
            Batch(
                events=self._events,
                type_ids=self._type_ids,
                first_seq=self._first_seq,
                last_seq=last_seq,
                min_time=self._min_time,
                max_time=self._max_time,
                raw_size=self._size,
                new_types=self._new_types,
            )
        )
        self._new_types = []
        self._first_seq = last_seq + 1
        self._waiting += self._size
        self.high_water = max(self.high_water, self._waiting)
        self._start()

    def counted(self) -> Counter[int]:
        """Return the events accepted so far, by type id."""
        with self._lock:
            return self._recorded + Counter(self._type_ids)

    @property
    def urgent(self) -> bool:
        """An event that is never shed is waiting."""
        return self._urgent

    def take(self) -> list[Batch]:
        """Return everything that waits, as batches of one frame each. Writer thread only."""
        with self._lock:
            self._seal(self.last_seq)
            self._urgent = False
            batches = list(self._sealed)
            self._sealed.clear()
            return batches

    def written(self, batch: Batch) -> None:
        """Free the room of a batch that the sink has taken."""
        with self._lock:
            self._waiting -= batch.raw_size

    def give_up(self, batches: list[Batch], names: dict[int, str]) -> None:
        """Count the events of `batches` as lost because the process ends."""
        with self._lock:
            for batch in batches:
                for type_id in batch.type_ids:
                    self.ledger.count(names[type_id], SHUTDOWN)
                self._waiting -= batch.raw_size

    def unreported_losses(self) -> tuple[list[run_pb2.DropCount], int, int]:
        """Return the losses since the last call, all losses and all events offered."""
        with self._lock:
            return self.ledger.take_unreported(), self.ledger.total, self.last_seq
