"""What the emitters of one run share: the type table, the level in force, the buffer and the writer.

An emitter asks it once per type and context for a plan; after that, emitting touches
the plan and the buffer only. A fork leaves a child without buffer, writer and file: its first event opens a stream
of its own, and nothing of the parent's is used there.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING

from esper_telemetry.recorder.buffer import Buffer, Plan
from esper_telemetry.recorder.child import child_sink, close_before_exit, close_stream
from esper_telemetry.recorder.ledger import IN_CHILD, INVALID
from esper_telemetry.recorder.writer import WriterThread
from esper_telemetry.schema import EventType, enum_labels, event_type
from esper_telemetry.schema.encoder import payload_encoders
from esper_telemetry.schema.envelope import EnvelopeParts
from esper_telemetry.v1 import options_pb2, run_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message

    from esper_telemetry.clock import Clock
    from esper_telemetry.recorder.emitter import Emitter
    from esper_telemetry.recorder.ledger import LossLedger
    from esper_telemetry.recorder.options import RecordOptions
    from esper_telemetry.recorder.runfiles import RunFiles
    from esper_telemetry.sinks import Sink

_log = logging.getLogger("esper_telemetry")
_REPORT_INTERVAL = 1.0
_ANY_TYPE = "*"  # events of children that have no stream are not told apart


class Core:
    """Shared state of a run's emitters, in one process.

    Args:
        options: how the record is written.
        clock: source of time.
        types: event types that the first header declares.
        level: number of the level in force.
        strict: errors of a call are raised at the caller instead of counted.
        files: where the run writes; None for a run that keeps its events in memory.
        owner: process id of the one that started the run, if it is another one.

    Attributes:
        child: this process is not the one that started the run.
        owner: process id of the one that started it.
        token: 16 bytes that tell this run from every other, the same in all its processes.
        append: what emitters call with a plan and a payload.
        writer: the thread that writes this process's stream; None before a child's first event.
        sink: what it writes to.
        closed: the run was closed in this process, or before it was forked.
        opened_at: monotonic time at which this process's stream began, in seconds.
        has_children: this process was forked, or the run was handed to others, so that there may be children.
    """

    def __init__(
        self,
        options: RecordOptions,
        clock: Clock,
        types: Sequence[EventType],
        level: int,
        *,
        strict: bool,
        files: RunFiles | None = None,
        owner: int | None = None,
    ) -> None:
        """Build the type table; nothing is written before `open`."""
        self.options = options
        self.clock = clock
        self.level = level
        self.strict = strict
        self.files = files
        self.token = files.producer_id if files is not None else os.urandom(16)
        self.child = owner is not None
        self.owner = owner or os.getpid()
        self.closed = False
        self.writer: WriterThread | None = None
        self.sink: Sink | None = None
        self.append: Callable[[Plan, bytes], bool] = self._open_and_append
        self.opened_at = time.monotonic()
        self.has_children = False
        self._buffer: Buffer | None = None
        self._asked = False
        self._in_children = 0
        self._emitters: weakref.WeakSet[Emitter] = weakref.WeakSet()
        self._lock = threading.RLock()  # a signal handler may emit while its thread is in here
        self._ids: dict[str, int] = {}
        self._types: dict[int, EventType] = {}
        for one in types:
            self._number(one)
        self._said: set[tuple[str, str]] = set()
        self._last_report = 0.0
        _alive.add(self)

    @property
    def buffer(self) -> Buffer:
        """The buffer of this process: made, with both anchors of the clock, when it is first asked for."""
        if self._buffer is None:
            with self._lock:
                self._buffer = self._buffer or Buffer(self.options, self.clock)
        return self._buffer

    def open(self, sink: Sink, flush_interval: float) -> None:
        """Start the writer thread on `sink`: events go through the buffer from now on."""
        buffer = self.buffer
        self.sink = sink
        self.opened_at = time.monotonic()
        self._connect(buffer.append if self.options.on_error == "warn" else self._append_or_raise)
        self.writer = WriterThread(buffer, sink, flush_interval, self.report_losses)

    def _connect(self, append: Callable[[Plan, bytes], bool]) -> None:
        self.append = append
        for emitter in list(self._emitters):
            emitter.connect(append)

    def _number(self, one: EventType) -> int:
        """Return the id of a type, a new one if need be. A fork between two lines leaves the child a usable table."""
        number = self._ids.get(one.full_name)
        if number is None:
            number = len(self._ids) + 1
            self._types[number] = one
            self._ids[one.full_name] = number
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
        with self._lock:
            for emitter in list(self._emitters):
                emitter.forget_plans()

    def adopt(self, emitter: Emitter) -> None:
        """Remember an emitter: it is told when the level changes, and when this process gets a stream of its own."""
        with self._lock:
            self._emitters.add(emitter)
            emitter.connect(self.append)

    def plan(self, cls: type[Message], context: bytes) -> Plan:
        """Return how events of `cls` are emitted in a context (serialized).

        Raises:
            SchemaError: `cls` is no event.
        """
        one = event_type(cls)
        with self._lock:
            if one.full_name not in self._ids:
                self.buffer.declare(self._number(one), one)
            number = self._ids[one.full_name]
        return Plan(
            type=one,
            envelope=EnvelopeParts(number, context),
            limit=self.buffer.limit(one.shedding),
            urgent=one.shedding == options_pb2.SHEDDING_NEVER,
            encoders=payload_encoders(cls),
        )

    def reject(self, name: str, error: Exception) -> None:
        """Count an event that could not be built, and say so once per type and error."""
        if self.strict:
            raise error
        self.open_child()
        self.buffer.lose(name, INVALID)
        key = (name, str(error))
        if key not in self._said:
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
        self.count_children()
        now = time.monotonic()
        if self.counting or not self.buffer.ledger.total or now - self._last_report < _REPORT_INTERVAL:
            return
        drops, total, offered = self.buffer.unreported_losses()
        if drops and self.level != options_pb2.LEVEL_OFF:
            self._last_report = now
            report = run_pb2.DropReport(drops=drops, total_dropped=total, total_offered=offered)
            self.buffer.append(self.plan(run_pb2.DropReport, b""), report.SerializeToString())

    def count_children(self) -> None:
        """Give numbers to the events of children that have no stream, and count them as lost: here is the record."""
        if self.child or self.files is None or not self.has_children:
            return
        from esper_telemetry.sinks import tallied  # loaded since the file was opened

        found = tallied(self.files.folder)
        with self._lock:
            more, self._in_children = found - self._in_children, max(found, self._in_children)
        if more > 0:
            self.buffer.lose(_ANY_TYPE, IN_CHILD, more)

    def finish(self, cls: type[Message], build: Callable[[int, LossLedger], bytes]) -> None:
        """Store the last event of this process's stream, and close it.

        Args:
            cls: class of the last event.
            build: makes its payload, from the events offered (itself included) and what was lost before it.

        Raises:
            SinkError: only with on_error="raise", when the sink has failed.
        """
        deadline = time.monotonic() + self.options.close_timeout
        if self.has_children and not self.child and self.writer is not None:
            self.writer.flush(self.options.close_timeout)  # it counts what children have lost
        unused = not self.buffer.last_seq
        self.buffer.append_last(self.plan(cls, b""), build)
        left = (
            self.writer.stop(max(0.0, deadline - time.monotonic())) if self.writer is not None else self.buffer.take()
        )
        if unused:
            return
        if left:
            self.buffer.give_up(left, self.names)
        if self.buffer.ledger.total:
            _log.warning(
                "telemetry lost %d of %d events: %s", self.buffer.ledger.total, self.buffer.last_seq, self.losses()
            )
        if self._in_children and self.files is not None:
            from esper_telemetry.sinks import remove_tally

            remove_tally(self.files.folder)
        self.check_sink()

    @property
    def counting(self) -> bool:
        """The events of this process are counted and not recorded: it is a child that has no stream."""
        return bool(getattr(self.sink, "counting", False))

    def accepted(self) -> list[tuple[EventType, int]]:
        """Return how many events of each type this process has recorded, or will."""
        types = dict(self.types())
        return [(types[number], count) for number, count in sorted(self.buffer.counted().items())]

    def losses(self) -> dict[tuple[str, str], int]:
        """Return what was lost in this process, by full message name and cause."""
        causes = enum_labels(run_pb2.DropCause.DESCRIPTOR)
        return {(name, causes[cause]): count for (name, cause), count in self.buffer.ledger.losses.copy().items()}

    # --- child processes ----------------------------------------------------------------------------------------------

    def open_child(self) -> None:
        """In a child process that has no stream yet: open one. Its file is opened by the writer thread."""
        with self._lock:
            if not self.child or self.closed or self._asked:
                return
            self._asked = True  # a signal handler that emits now finds the buffer
            try:
                self.open(child_sink(self), self.options.flush_interval)
            except RuntimeError as error:  # the interpreter starts no threads any more
                _log.warning("events of this child process are not recorded: %s", error)
            except BaseException:  # the next event tries again
                self._asked = False
                self._connect(self._open_and_append)
                raise
        self.buffer.wake.set()  # its file is there at once: a trace of a child that is killed soon
        close_before_exit(lambda: close_stream(self, "exit"))

    def _open_and_append(self, plan: Plan, payload: bytes) -> bool:
        """Take the first event of a child process, on a road that is taken once."""
        self.open_child()
        return self.buffer.append(plan, payload)

    def become_child(self) -> None:
        """In a fork child: let go of what is the parent's. Its thread is not here, its file is closed already.

        What waited in the buffer is the parent's to write. Locks may have been copied while they were held.
        """
        self._lock = threading.RLock()
        if self.closed:
            return
        self.child = True
        self.has_children = self._asked = False
        self._in_children = 0
        self.writer = self.sink = self._buffer = None
        self._connect(self._open_and_append)


_alive: weakref.WeakSet[Core] = weakref.WeakSet()


def _note_children() -> None:
    for core in list(_alive):
        core.has_children = True


def _become_children() -> None:
    for core in list(_alive):
        core.become_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=_note_children, after_in_child=_become_children)
