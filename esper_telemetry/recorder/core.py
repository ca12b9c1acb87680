"""What the emitters of one run share: the type table, the level in force, the buffer and the writer.

An emitter asks it once per type and context for a plan; after that, emitting touches
the plan and the buffer only.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING

from esper_telemetry.recorder.background import Background
from esper_telemetry.recorder.buffer import Buffer, Plan
from esper_telemetry.recorder.ledger import INVALID, drop_counts
from esper_telemetry.recorder.wakeup import Wakeup
from esper_telemetry.recorder.writer import WriterThread
from esper_telemetry.schema import EventType, event_type
from esper_telemetry.schema.encoder import payload_encoders
from esper_telemetry.schema.envelope import EnvelopeParts
from esper_telemetry.v1 import options_pb2, run_pb2

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message

    from esper_telemetry.clock import Clock
    from esper_telemetry.recorder.emitter import Emitter
    from esper_telemetry.recorder.options import RecordOptions
    from esper_telemetry.sinks import Sink

_log = logging.getLogger("esper_telemetry")
_REPORT_INTERVAL = 1.0
_MUTE = -1  # below every level: nothing is recorded


class Core:
    """Shared state of a run's emitters.

    Attributes:
        level: number of the level in force.
        append: what emitters call with a plan and a payload.
        strict: errors of a call are raised at the caller instead of counted.
        background: the threads beside the program.
    """

    def __init__(
        self, options: RecordOptions, clock: Clock, types: Sequence[EventType], level: int, *, strict: bool
    ) -> None:
        """Build the type table; nothing is written before `open`."""
        self.options = options
        self._numbers = itertools.count(1)
        self._ids: dict[str, int] = {}
        self._types: dict[int, EventType] = {}
        self._declared = [(self._number(one), one) for one in types]
        self.wakeup = Wakeup()
        self.buffer = Buffer(options, clock, self._types, self.wakeup)
        self.level = level
        self.strict = strict
        self.append: Callable[[Plan, bytes], bool] = (
            self.buffer.append if options.on_error == "warn" else self._append_or_raise
        )
        self._emitters: set[weakref.ref[Emitter]] = set()
        self.writer: WriterThread | None = None
        self._said: set[tuple[str, str]] = set()
        self.background = Background(self)
        self._saying: set[int] = set()
        self._last_report = 0.0
        self._pid = os.getpid()
        _alive.add(weakref.ref(self, _alive.discard))

    @property
    def declared(self) -> list[tuple[int, EventType]]:
        """The types that stand in the first header."""
        return list(self._declared)

    def open(self, make_sink: Callable[[Core], Sink], timeout: float) -> Sink:
        """Start the writer thread, which opens the sink; return that.

        Raises:
            SinkError: it cannot be opened, or not in `timeout` seconds.
            ConfigError: an option of the sink cannot be used.
        """
        self.writer = WriterThread(
            self.buffer, lambda: make_sink(self), self.wakeup, self.options.flush_interval, self._report
        )
        return self.writer.start(timeout)

    def _number(self, one: EventType) -> int:
        """Return the number of a type; where two callers ask for a new one at once, a number stays unused."""
        number = self._ids.get(one.full_name)
        if number is None:
            fresh = next(self._numbers)
            self._types[fresh] = one  # before anybody can find its number
            number = self._ids.setdefault(one.full_name, fresh)
        return number

    @property
    def names(self) -> dict[int, str]:
        """Type id → full message name."""
        return {number: one.full_name for number, one in self.types()}

    def types(self) -> list[tuple[int, EventType]]:
        """Return the type table."""
        return list(self._types.items())

    def writer_cpu_seconds(self) -> float:
        """Return the processor time of the writer thread so far."""
        return self.writer.cpu_seconds if self.writer is not None else 0.0

    def wants(self, one: EventType) -> bool:
        """Tell whether events of this type are recorded at the level in force."""
        return one.level <= self.level

    def set_level(self, level: int) -> None:
        """Put another level in force; emitters make new plans at their next event."""
        self.level = level
        for ref in list(self._emitters):
            emitter = ref()
            if emitter is not None:
                emitter.forget_plans()

    def adopt(self, emitter: Emitter) -> None:
        """Remember an emitter, so that its plans can be forgotten when the level changes."""
        self._emitters.add(weakref.ref(emitter, self._emitters.discard))

    def plan(self, cls: type[Message], context: bytes) -> Plan:
        """Return how events of `cls` are emitted in a context (serialized).

        Raises:
            SchemaError: `cls` is no event.
        """
        one = event_type(cls)
        return Plan(
            type=one,
            envelope=EnvelopeParts(self._number(one), context),
            limit=self.buffer.limit(one.shedding),
            urgent=one.shedding == options_pb2.SHEDDING_NEVER,
            encoders=payload_encoders(cls),
        )

    def reject(self, name: str, error: Exception) -> None:
        """Count an event that could not be built, and say so once per type and error."""
        if self.strict:
            raise error
        self.buffer.lose(name, INVALID)
        key, thread = (name, str(error)), threading.get_ident()
        if key in self._said or thread in self._saying:  # a log handler that emits is not to be called by itself
            return
        self._said.add(key)
        try:
            self._saying.add(thread)
            _log.warning("%s was not recorded (counted as invalid, said once): %s", name, error)
        finally:
            self._saying.discard(thread)

    def check_sink(self) -> None:
        """Raise what the sink reported, if the user asked for that.

        Raises:
            SinkError: the sink failed and on_error is "raise".
        """
        if self.options.on_error != "raise":
            return
        if self.writer is not None and self.writer.error is not None:
            raise self.writer.error
        self.background.check()

    def _append_or_raise(self, plan: Plan, payload: bytes) -> bool:
        accepted = self.buffer.append(plan, payload)
        self.check_sink()
        return accepted

    def _report(self) -> None:
        """Emit what the writer thread has to say by itself."""
        self.report_losses()
        self.background.beat()

    def report_losses(self) -> None:
        """Emit a DropReport if something was lost since the last one, at most once a second."""
        now = time.monotonic()
        if not self.buffer.ledger.total or now - self._last_report < _REPORT_INTERVAL:
            return
        drops, total, offered = self.buffer.unreported_losses()
        if drops and self.level != options_pb2.LEVEL_OFF:
            self._last_report = now
            report = run_pb2.DropReport(drops=drops, total_dropped=total, total_offered=offered)
            self.background.emit("losses", report)

    def finish(self, finished: run_pb2.RunFinished) -> bool:
        """Record how the run ended, with what was offered and lost, and close the sink; it takes close_timeout at most.

        Called again, it waits for the end that was asked for first: RunFinished is written once. No event that comes
        after the first call is recorded. False in the writer thread (a finalizer, a log handler), which ends later.
        """

        def build(offered: int, losses: Counter[tuple[str, int]]) -> bytes:
            finished.offered, finished.dropped = offered, losses.total()
            finished.drops.extend(drop_counts(losses))
            return finished.SerializeToString()

        deadline = time.monotonic() + self.options.close_timeout
        try:
            self.background.stop(self.options.close_timeout / 2)  # the other half is the disk's
        finally:  # an interrupt of the wait takes nothing from the end
            self.buffer.end(self.plan(run_pb2.RunFinished, b""), build)
            done = self.writer is None or self.writer.finish(max(0.0, deadline - time.monotonic()))
        return done

    def forget(self) -> None:
        """In a fork child: become inert. The thread is not here, and the file belongs to the parent."""
        self.writer = None
        self.set_level(_MUTE)

    @property
    def inherited(self) -> bool:
        """This process is a fork child of the one that opened the run."""
        return os.getpid() != self._pid


# A plain set, because a WeakSet removes in Python: an exception that arrives in there is swallowed by the interpreter.
_alive: set[weakref.ref[Core]] = set()


def _forget_all() -> None:
    for ref in list(_alive):
        core = ref()
        if core is not None:
            core.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
