"""What the emitters of one run share: the type table, the level in force, the buffer and the writer.

An emitter asks it once for what it knows of a type or a context; after that, emitting touches plans and buffer only. A
fork leaves a child without buffer, writer and file: its first event opens a stream of its own, and nothing of the
parent's is used there. There is no lock: what must be done once is claimed by one C call.

Background, housekeeping, files and forks see this class through small protocols of their own, so that no two files
import each other.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from esper_telemetry.errors import SinkError
from esper_telemetry.recorder.background import Background
from esper_telemetry.recorder.buffer import CLOSED, Buffer, ClosedBuffer
from esper_telemetry.recorder.forks import close_before_exit, watch_forks
from esper_telemetry.recorder.housekeeping import Housekeeping
from esper_telemetry.recorder.ledger import IN_CHILD, INVALID, SHUTDOWN, drop_counts
from esper_telemetry.recorder.notices import Mistakes, notify
from esper_telemetry.recorder.plans import NO_CONTEXT, NOWHERE, ContextPlans, Entry, KnownType, TypePlan, flat
from esper_telemetry.recorder.runfiles import child_sink
from esper_telemetry.recorder.wakeup import Wakeup, wait_until
from esper_telemetry.recorder.writer_thread import WriterThread
from esper_telemetry.schema import EventType, enum_labels, event_type
from esper_telemetry.schema.call_shapes import CONTEXT_SHAPES, call_shapes
from esper_telemetry.schema.context import build_context
from esper_telemetry.schema.encoder import descriptor_of
from esper_telemetry.schema.value_checks import value_rule, write_join
from esper_telemetry.v1 import context_pb2, run_pb2

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from google.protobuf.message import Message

    from esper_telemetry.clock import Clock
    from esper_telemetry.errors import SchemaError
    from esper_telemetry.recorder.options import RecordOptions
    from esper_telemetry.recorder.plans import EntryKind, Where
    from esper_telemetry.recorder.runfiles import RunFiles
    from esper_telemetry.schema.row_shape import RowShape
    from esper_telemetry.sinks import Sink, Vanished

    Append = Callable[[EntryKind, Where, Any, int], bool]

_CHILD_TIMEOUT = 1.0  # seconds for a thread to begin; the file of a child is opened later
_STREAM = "stream"
Reason = Literal["closed", "failed", "exit"]


# Types of what is bound again and again, and taken as it comes.
_BOUND = frozenset({int, str, type(None)})
# Shapes of contexts whose plans are kept; a program has a few.
_MOST_CONTEXTS = 256


# What the end of a run may take for its files to become smaller: processor time, and wall clock on a busy machine.
_COMPACTING_S = 2.0
_COMPACTING_WALL_S = 5.0


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
        token: 16 bytes that identify this run, the same in all its processes.
        clock: source of time.
        level: number of the level in force.
        open_buffer: what emitters store events in themselves, up to its bound.
        append: what emitters call with the kind of an event, its context, its row and the bytes of its texts.
        writer: the thread that writes this process's stream; None before a child's first event.
        closing: the end of this process's stream has been asked for, or had been when it was forked.
        closed: that end was reached.
        opened_at: monotonic time at which this process's stream began, in seconds.
        has_children: this process was forked, or the run was handed to others, so that there may be children.
        background: the threads beside the program, of this process.
        housekeeping: what its writer thread looks after.
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
        self._numbers = itertools.count(1)
        self._ids: dict[str, int] = {}
        self._types: dict[int, EventType] = {}
        for one in types:
            self._number(one)
        self.level = level
        self.strict = strict
        self.files = files
        self.token = files.producer_id if files is not None else os.urandom(16)
        self.child = owner is not None
        self.owner = owner or os.getpid()
        self.closing = self.closed = False
        self.opened_at = time.monotonic()
        self.has_children = False
        self._emitters: set[weakref.ref[object]] = set()
        self._plans: set[weakref.ref[ContextPlans]] = set()
        self._contexts: dict[RowShape, ContextPlans] = {}
        self._known: dict[type[Message], KnownType] = {}
        self._mistakes = Mistakes()
        self._start_anew()
        if not self.child:
            self._make_buffer()
        watch_forks(self)

    def _start_anew(self) -> None:
        """Have no buffer, writer and sink: what they are is made in this process."""
        self.wakeup = Wakeup()
        self.background = Background(self)
        self.housekeeping = Housekeeping(self, self.background)
        self._buffers: list[Buffer] = []
        self._unopened = {_STREAM: True}  # taken by the call that opens the stream of a child
        self.writer: WriterThread | None = None
        self.append: Append = self._open_and_append
        self.open_buffer: Buffer | ClosedBuffer = CLOSED

    @property
    def buffer(self) -> Buffer:
        """The buffer of this process: made, with both anchors of the clock, when it is first asked for."""
        if not self._buffers:
            self._make_buffer()
        return self._buffers[0]  # the first of those that concurrent callers have made

    def _make_buffer(self) -> None:
        self._buffers.append(Buffer(self.options, self.clock, self._types, self.wakeup))

    def open(self, make_sink: Callable[[Core], Sink], timeout: float) -> Sink:
        """Start the writer thread, which opens the sink; return that. Events go through the buffer from now on.

        Raises:
            SinkError: it cannot be opened, or not in `timeout` seconds.
            ConfigError: an option of the sink cannot be used.
        """
        self.opened_at = time.monotonic()
        self.writer = WriterThread(
            self.buffer,
            lambda: make_sink(self),
            self.wakeup,
            self.options.flush_interval,
            self.housekeeping.turn,
            afterwards=self.compact,
        )
        sink = self.writer.start(timeout)
        self.append = self._append
        if self.options.on_error == "warn":
            self.open_buffer = self.buffer
        return sink

    @property
    def _append(self) -> Append:
        return self.buffer.append if self.options.on_error == "warn" else self._append_or_raise

    def _number(self, one: EventType) -> int:
        """Return the number of a type; where two callers ask for a new one at once, a number stays unused."""
        number = self._ids.get(one.full_name)
        if number is None:
            fresh = next(self._numbers)
            self._types[fresh] = one  # before any thread can find its number
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
        self._forget_plans()

    def forget_if_changed(self, level: int) -> None:
        """Forget plans that were made at `level` while another thread changed it."""
        if self.level != level:
            self._forget_plans()

    def _forget_plans(self) -> None:
        for ref in list(self._plans):
            plans = ref()
            if plans is not None:
                plans.forget()

    @property
    def has_emitters(self) -> bool:
        """Events can still be emitted: the run's own emitter is alive, which those that were bound keep."""
        return len(self._emitters) > 0

    def adopt(self, emitter: object) -> None:
        """Remember an emitter, as long as it is alive."""
        self._emitters.add(weakref.ref(emitter, self._emitters.discard))

    def placed(self, fields: dict[str, Any]) -> tuple[ContextPlans, Where]:
        """Return what is known of a context, and what it is in the buffer.

        Raises:
            SchemaError: a name is not a field of Context, or a value does not fit it.
        """
        row = CONTEXT_SHAPES.of_message(build_context(fields))
        plans = self._plans_for(row.shape)
        return plans, flat(row.values, plans.held + row.extra)

    def learn_step(self, base: ContextPlans, given: dict[str, Any], whole: ContextPlans) -> None:
        """Let `bind` do what it just did without this class: contexts like `base` were given fields like `given`."""
        row = CONTEXT_SHAPES.row(given)
        kinds = set(row.shape.types)
        if row.values is not given or row.shape.check is None or not given or not kinds <= _BOUND:
            return
        # A text in place of another one would be counted beside it: `bind` is to ask here again.
        bound = {source.name for source in base.shape.sources or ()}
        if str not in kinds or bound.isdisjoint(given):
            fields = descriptor_of(context_pb2.Context).fields_by_name
            rules = [
                (name, None if value is None else value_rule(fields[name], type(value)))
                for name, value in sorted(given.items())
            ]
            base.steps[len(rules)] = write_join(rules, whole.held - base.held), whole

    def _plans_for(self, shape: RowShape) -> ContextPlans:
        plans = self._contexts.get(shape)
        if plans is None:
            if len(self._contexts) >= _MOST_CONTEXTS:
                self._contexts.clear()
            plans = self._contexts.setdefault(shape, self.fresh_plans(shape))
        return plans

    def fresh_plans(self, shape: RowShape) -> ContextPlans:
        """Return plans that nothing is known in, which are told of changes of the level."""
        plans = ContextPlans(shape)
        self._plans.add(weakref.ref(plans, self._plans.discard))
        return plans

    def known(self, cls: type[Message]) -> KnownType:
        """Return what the run knows of an event class.

        Raises:
            SchemaError: `cls` is no event.
        """
        known = self._known.get(cls)
        if known is None:
            one = event_type(cls)
            limit = self.buffer.limit(one.shedding)
            known = self._known[cls] = KnownType(one, self._number(one), limit, call_shapes(cls))
        return known

    def entry_of(self, message: Message) -> Entry:
        """Return what `append` takes for a message of the SDK's own, without a context.

        Raises:
            SchemaError: it is no event.
        """
        known = self.known(type(message))
        row = known.shapes.of_message(message)
        return Entry(TypePlan(known, NO_CONTEXT).kind(row.shape), NOWHERE, row.values, row.extra)

    def reject(self, name: str, error: SchemaError) -> None:
        """Count an event that could not be built and report that, or raise `error` with strict=True."""
        if self.strict:
            raise error
        self.open_child()
        self.buffer.lose(name, INVALID)
        if not self.closing:
            self._report(name, error)

    def _report(self, name: str, error: SchemaError) -> None:
        if self._mistakes.report(name, error):
            self.wakeup.set()  # the writer thread writes it to the log

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

    def _append_or_raise(self, kind: EntryKind, where: Where, row: Any, extra: int) -> bool:
        accepted = self.buffer.append(kind, where, row, extra)
        self.check_sink()
        return accepted

    # --- the account of this process ----------------------------------------------------------------------------------

    def account(self) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
        """Return the events recorded, by short name, and those lost, by full message name and cause."""
        account, types = self.buffer.account(), dict(self.types())
        causes = enum_labels(run_pb2.DropCause.DESCRIPTOR)
        recorded = {types[number]: count for number, count in sorted(account.recorded.items())}
        lost = {(name, causes[cause]): count for (name, cause), count in account.losses.items()}
        if self.counting:
            given = {one: count for one, count in recorded.items() if one.cls is not run_pb2.StreamFinished}
            lost.update({(one.full_name, causes[IN_CHILD]): count for one, count in given.items()})
            recorded = {}
        return {one.name: count for one, count in recorded.items()}, lost

    @property
    def sink(self) -> Sink | None:
        """Where the events of this process go; None before it is open."""
        return self.writer.sink if self.writer is not None else None

    @property
    def folder(self) -> Path | None:
        """The run folder; None of a run that keeps its events in memory."""
        return self.files.folder if self.files is not None else None

    @property
    def counting(self) -> bool:
        """The events of this process are counted and not recorded: it is a child that has no stream."""
        return bool(getattr(self.sink, "counting", False))

    def record_vanished(self, vanished: Vanished) -> None:
        """Count the events of a file that was taken away. Writer thread."""
        self.housekeeping.record_vanished(vanished)

    def finish(self, last: run_pb2.RunFinished | run_pb2.StreamFinished) -> bool:
        """Record `last`, with what was offered and lost, and close the sink; it takes close_timeout at most.

        The last event is written once, however often this is called; no event after the first call is recorded.
        False in the writer thread (a finalizer, a log handler), which ends later.
        """

        def build(offered: int, losses: Counter[tuple[str, int]]) -> bytes:
            last.offered, last.dropped = offered, losses.total()
            last.drops.extend(drop_counts(losses))
            return last.SerializeToString()

        deadline = time.monotonic() + self.options.close_timeout
        try:
            self.background.stop(self.options.close_timeout / 2)  # the other half is the disk's
        except BaseException:  # an interrupt of the wait takes nothing from the end
            self._write_last(self.known(type(last)).type_id, build, deadline)
            raise
        return self._write_last(self.known(type(last)).type_id, build, deadline)

    def _write_last(
        self, type_id: int, build: Callable[[int, Counter[tuple[str, int]]], bytes], deadline: float
    ) -> bool:
        self.closing = True
        self.buffer.end(type_id, build)
        if self.writer is None:
            self.buffer.drop_all(SHUTDOWN)
        elif not self.writer.finish(max(0.0, deadline - time.monotonic())):
            return False
        self.housekeeping.end()
        self.closed = True
        return True

    def compact(self) -> None:
        """Rewrite the files of a run that was closed in good order into full frames.

        That takes two seconds of processor time at most, and five of the wall clock on a machine that is busy.
        Those of its child processes too, which do not take that time themselves. The last thing of the writer thread.
        """
        files = self.files
        if files is None or not files.compacts or self.child:
            return
        from esper_telemetry.sinks.compacting import compact_run  # loaded since the run was opened, but for this

        paths = getattr(self.sink, "paths", ())
        compact_run(files.folder, paths, files.rank, processor_s=_COMPACTING_S, wall_s=_COMPACTING_WALL_S)

    def await_compaction(self) -> None:
        """Wait until the files are as they will stay, for as long as that may take."""
        writer = self.writer
        if writer is not None and self.closed and writer.ended:
            wait_until(lambda: not writer.alive, time.monotonic() + _COMPACTING_WALL_S)

    # --- child processes ----------------------------------------------------------------------------------------------

    def open_child(self) -> None:
        """In a child process that has no stream yet: open one. Its file is opened by the writer thread."""
        if not self.child or self.closing or self._unopened.pop(_STREAM, None) is None:
            return  # or a call does it already, perhaps a frame below this one; the buffer is there
        try:
            self.open(child_sink, _CHILD_TIMEOUT)
        except BaseException as error:
            if not isinstance(error, SinkError):  # it came from outside; the next event tries again
                if self.writer is None or not self.writer.alive:
                    self._unopened[_STREAM] = True
                raise
            if self.writer is not None and not self.writer.alive:  # else it is only slow to begin
                notify(logging.WARNING, f"events of this child process are not recorded: {error}")
                self.writer = None
        self.wakeup.set()  # its file is there at once: a trace of a child that is killed soon
        close_before_exit(partial(self.close_stream, "exit"))

    def _open_and_append(self, kind: EntryKind, where: Where, row: Any, extra: int) -> bool:
        """Take the first event of a child process, on a road that is taken once."""
        self.open_child()
        return self.buffer.append(kind, where, row, extra)

    def close_stream(self, reason: Reason, error_type: str | None = None) -> None:
        """End the stream of this child process; one that has emitted nothing has none. A second call does nothing."""
        if not self.closed:
            duration = time.monotonic() - self.opened_at
            self.finish(run_pb2.StreamFinished(reason=reason, error_type=error_type, duration_s=duration))

    def become_child(self) -> None:
        """In a fork child: leave everything that is the parent's. Its thread is not here, its file is closed already.

        What waited in the buffer is the parent's to write.
        """
        self.child = True
        self.has_children = False
        if self.closing:
            self.closed = True
        else:
            self._start_anew()
