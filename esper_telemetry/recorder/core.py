"""What the emitters of one run share: the type table, the level in force, the buffer and the writer.

An emitter asks it once per type and context for a plan; after that, emitting touches
the plan and the buffer only.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING

from esper_telemetry.recorder.buffer import Buffer, Plan
from esper_telemetry.recorder.late import LateEvents
from esper_telemetry.recorder.ledger import INVALID
from esper_telemetry.recorder.writer import WriterThread
from esper_telemetry.schema import EventType, event_type
from esper_telemetry.schema.encoder import payload_encoders
from esper_telemetry.schema.envelope import EnvelopeParts
from esper_telemetry.v1 import options_pb2, run_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message

    from esper_telemetry.clock import Clock
    from esper_telemetry.errors import SchemaError
    from esper_telemetry.recorder.emitter import Emitter
    from esper_telemetry.recorder.options import RecordOptions
    from esper_telemetry.sinks import Sink

_log = logging.getLogger("esper_telemetry")
_REPORT_INTERVAL = 1.0
# Mistakes that are told apart for being said: a caller who makes up new ones all the time does not fill the log.
_MISTAKES = 256
_MUTE = -1  # below every level: nothing is recorded


class Core:
    """Shared state of a run's emitters.

    Attributes:
        level: number of the level in force.
        append: what emitters call with a plan and a payload.
        plans: how events of a class are emitted without a context, of those that were emitted.
        strict: errors of a call are raised at the caller instead of counted.
    """

    def __init__(
        self, options: RecordOptions, clock: Clock, types: Sequence[EventType], level: int, *, strict: bool
    ) -> None:
        """Build the type table; nothing is written before `open`."""
        self.options = options
        self.buffer = Buffer(options, clock)
        self.level = level
        self.strict = strict
        self.append: Callable[[Plan, bytes], bool] = (
            self.buffer.append if options.on_error == "warn" else self._append_or_raise
        )
        self.late = LateEvents()
        # A reference costs a quarter of what a WeakSet takes for one, and a lock is not needed: each step is one call.
        self._emitters: set[weakref.ref[Emitter]] = set()
        self.writer: WriterThread | None = None
        self._lock = threading.Lock()
        self._ids: dict[str, int] = {}
        self._types: dict[int, EventType] = {}
        self._declared = [(self._number(one), one) for one in types]
        self.plans: dict[type[Message], Plan] = {}
        self._ended = False
        self._said: set[tuple[str, str]] = set()
        self._last_report = 0.0
        self._pid = os.getpid()
        _alive.add(self)

    @property
    def declared(self) -> list[tuple[int, EventType]]:
        """The types that stand in the first header."""
        return list(self._declared)

    def open(self, sink: Sink, flush_interval: float) -> None:
        """Start the writer thread on `sink`."""
        self.writer = WriterThread(self.buffer, sink, flush_interval, self.report_losses)

    def _number(self, one: EventType) -> int:
        number = self._ids.setdefault(one.full_name, len(self._ids) + 1)
        self._types[number] = one
        return number

    @property
    def names(self) -> dict[int, str]:
        """Type id → full message name."""
        return {number: one.full_name for number, one in self.types()}

    def types(self) -> list[tuple[int, EventType]]:
        """Return the type table."""
        with self._lock:
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
        for emitter in self._alive_emitters():
            emitter.forget_plans()

    def adopt(self, emitter: Emitter) -> None:
        """Remember an emitter: it is told when the level changes, and when another `append` is in force."""
        self._emitters.add(weakref.ref(emitter, self._emitters.discard))

    def _alive_emitters(self) -> list[Emitter]:
        found = [reference() for reference in list(self._emitters)]
        return [emitter for emitter in found if emitter is not None]

    def _connect(self, append: Callable[[Plan, bytes], bool]) -> None:
        self.append = append
        for emitter in self._alive_emitters():
            emitter.connect(append)

    def end(self) -> None:
        """Count from now on what is emitted, and record nothing: the run is being closed."""
        self._ended = True
        self._connect(self._append_late)

    def _append_late(self, plan: Plan, _payload: bytes) -> bool:
        self.late.count(plan.type.full_name)
        return False

    def plan(self, cls: type[Message], context: bytes) -> Plan:
        """Return how events of `cls` are emitted in a context (serialized).

        Raises:
            SchemaError: `cls` is no event.
        """
        plan = self.plans.get(cls)
        if plan is None:
            plan = self.plans[cls] = self._first_plan(cls)
        return placed(plan, context) if context else plan

    def _first_plan(self, cls: type[Message]) -> Plan:
        """Return how events of `cls` are emitted without context; the file learns of a type that it does not know."""
        one = event_type(cls)
        with self._lock:
            if one.full_name not in self._ids:
                self.buffer.declare(self._number(one), one)
            number = self._ids[one.full_name]
        return Plan(
            type=one,
            envelope=EnvelopeParts(number, b""),
            limit=self.buffer.limit(one.shedding),
            urgent=one.shedding == options_pb2.SHEDDING_NEVER,
            encoders=payload_encoders(cls),
        )

    def reject(self, name: str, error: SchemaError) -> None:
        """Count an event that could not be built, and say so: once for each type and mistake, whatever the values.

        Raises:
            SchemaError: with strict=True.
        """
        if self.strict:
            raise error
        if self._ended:
            self.late.count(name)
            return
        self.buffer.lose(name, INVALID)
        key = (name, error.about)
        if key not in self._said and len(self._said) < _MISTAKES:
            self._said.add(key)
            _log.warning("%s was not recorded (counted as invalid, said once): %s", name, error)

    def check_sink(self) -> None:
        """Raise what the sink reported, if the user asked for that.

        Raises:
            SinkError: the sink failed and on_error is "raise".
        """
        if self.options.on_error == "raise" and self.writer is not None and self.writer.error is not None:
            raise self.writer.error

    def _append_or_raise(self, plan: Plan, payload: bytes) -> bool:
        accepted = self.buffer.append(plan, payload)
        self.check_sink()
        return accepted

    def report_losses(self) -> None:
        """Emit a DropReport if something was lost since the last one, at most once a second."""
        now = time.monotonic()
        if not self.buffer.ledger.total or now - self._last_report < _REPORT_INTERVAL:
            return
        drops, total, offered = self.buffer.unreported_losses()
        if drops and self.level != options_pb2.LEVEL_OFF:
            self._last_report = now
            report = run_pb2.DropReport(drops=drops, total_dropped=total, total_offered=offered)
            self.buffer.append(self.plan(run_pb2.DropReport, b""), report.SerializeToString())

    def forget(self) -> None:
        """In a fork child: become inert. The thread is not here, and the file belongs to the parent."""
        self.writer = None
        self._lock = threading.Lock()  # the fork may have copied it locked
        self.set_level(_MUTE)

    @property
    def inherited(self) -> bool:
        """This process is a fork child of the one that opened the run."""
        return os.getpid() != self._pid


def placed(plan: Plan, context: bytes) -> Plan:
    """Return `plan` in another context (serialized)."""
    envelope = plan.envelope.within(context)
    # As Plan(...) does it, at a third of its price: a context may be bound for a single event.
    return tuple.__new__(Plan, (plan.type, envelope, plan.limit, plan.urgent, plan.encoders))


_alive: weakref.WeakSet[Core] = weakref.WeakSet()


def _forget_all() -> None:
    for core in list(_alive):
        core.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
