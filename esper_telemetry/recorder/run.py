"""The run a trainer holds: a context manager that records events, and its statistics."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from esper_telemetry.errors import TelemetryError
from esper_telemetry.facts.redaction import Redaction
from esper_telemetry.facts.runconfig import Configuration, configuration
from esper_telemetry.facts.started import run_configured
from esper_telemetry.recorder.closing import Closing
from esper_telemetry.recorder.emitter import Emitter
from esper_telemetry.recorder.ending import Ending, ending
from esper_telemetry.recorder.handle import remember, revived_run, ticket_of
from esper_telemetry.recorder.notices import notify, settle_notices
from esper_telemetry.recorder.shorthand import Shorthand
from esper_telemetry.schema import enum_labels, event_type, level_number
from esper_telemetry.schema.misfit import is_misfit
from esper_telemetry.schema.notebook import notebook_table
from esper_telemetry.schema.shown import cut
from esper_telemetry.v1 import options_pb2, run_pb2

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from google.protobuf.message import Message

    from esper_telemetry.recorder.core import Core
    from esper_telemetry.recorder.ending import Outcome

_MOST_OF_A_NAME = 100


@dataclass(frozen=True, slots=True)
class RunStats:
    """What a run has recorded and lost so far.

    Attributes:
        offered: events that passed the level, lost ones and those after the end of the run included.
        recorded: events accepted, by short name.
        dropped: events lost.
        drops: losses by (full message name, cause), causes as in DropCause.
        bytes_written: bytes written into the record's files; compaction at the end leaves fewer of them there.
        buffer_high_water: most bytes that ever waited for the disk.
        writer_cpu_s: processor time of the writer thread, in seconds.
        writer_alive: the writer thread is at work. It ends with the run; before that it should not.
        error: what keeps events from being written at the moment; None if nothing does.
        deaths: threads beside the writer that died (the system sampler, the reader of artifacts), and of what.
        sink_losses: events that each of the user's sinks did not take, by its name; they are in the record.
    """

    offered: int
    recorded: dict[str, int]
    dropped: int
    drops: dict[tuple[str, str], int]
    bytes_written: int
    buffer_high_water: int
    writer_cpu_s: float
    writer_alive: bool = False
    error: str | None = None
    deaths: dict[str, str] = field(default_factory=dict)
    sink_losses: dict[str, int] = field(default_factory=dict)


class Run(Shorthand):
    """A run of a trainer: emit events, bind context, and close it (best as a context manager).

    In a child process that was forked, the same object is the child's: its first event opens a stream of the child's
    own in the run's folder, and `paths`, `stats`, `flush`, `level` and `close` speak of that one. A run can be copied
    and pickled: a copy in the same process, or in a forked one, is the run itself; unpickled in a process started by
    one that still records it (spawn, forkserver, loky), it records as a forked child does; anywhere else it is off,
    and the log states that. `results` are those of the process that started the run.

    Every method may be called by any thread, and by signal handlers and finalizers that interrupted another one:
    nothing is locked. No signal is handled here: one that ends the process by its default action leaves what was
    emitted up to flush_interval before, and the run reads as killed. An exception that arrives in a method goes on to
    its caller; one that breaks off close() is no harm: the writer thread ends the record, and a later close() or the
    exit waits for it.

    Attributes:
        run_id: names the run and its folder.
    """

    def __init__(
        self,
        core: Core | None,
        run_id: str,
        folder: Path | None,
        config: Configuration | None = None,
    ) -> None:
        self.run_id = run_id
        self._core = core
        self._folder = folder
        self._emitter = Emitter(core, run_class=type(self))
        # Bound here: one call less than the methods below, which give them a signature and their help.
        self.emit = self._emitter.emit  # type: ignore[method-assign]
        self.bind = self._emitter.bind  # type: ignore[method-assign]
        if core is not None:
            remember(core.token, self)
        self._config = config or Configuration({})
        self._configuring = threading.RLock()
        # It outlives this object when that is never closed (unclosed.py), and so it holds what RunFinished needs.
        self._closing = Closing(core, run_id) if core is not None else None
        self._results: dict[str, float] = {}  # of a run that is switched off

    def __repr__(self) -> str:
        name = cut(self.run_id, _MOST_OF_A_NAME)
        if self._core is None or self._closing is None:
            return f"<Run {name}: off>"
        recorded, lost = (sum(counts.values()) for counts in self._core.account())
        return f"<Run {name}: {self._closing.outcome}, level {self.level}, {recorded} recorded, {lost} lost>"

    def _repr_html_(self) -> str:
        """Return what it is and what it has recorded, for a notebook."""
        rows: list[tuple[str, object, str]] = [("folder", self._folder or "—", "")]
        if self._core is None or self._closing is None:
            return notebook_table(f"Run {self.run_id}: off", rows)
        recorded, lost = (sum(counts.values()) for counts in self._core.account())
        rows += [("state", self._closing.outcome, ""), ("level", self.level, "")]
        rows += [("recorded", recorded, "events"), ("lost", lost, "events")]
        rows += [(name, value, "") for name, value in self.results.items()]
        return notebook_table(f"Run {self.run_id}", rows)

    def emit(self, event: type[Message] | Message | None = None, /, *wrong: object, **fields: Any) -> None:
        """Record one event; nothing is raised into the caller, and nothing waits for a device or a disk.

        `run.emit(events.ScalarLogged, name="loss", value=0.25, step=1)`

        Args:
            event: an event class, built here from `fields` if the level lets it pass. A ready message is accepted
                too (with fields of Context alone), but was neither filtered before it was built nor guarded.
            *wrong: nothing: fields have names. What is given here is reported, and the event counted as invalid.
            **fields: its fields, and those of Context that it has no field of its own for, which add to what is
                bound; None means not measured. Enums take numbers, names and labels as readers print them.

        Raises:
            SchemaError: only with strict=True, when a field is unknown, holds a tensor or does not fit.
            SinkError: only with on_error="raise", when the sink has failed.
        """
        self._emitter.emit(event, *wrong, **fields)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Take along what `handle.py` needs."""
        return revived_run, (type(self), ticket_of(self._core), self.run_id)

    @property
    def results(self) -> dict[str, float]:
        """Final scalars of the run, by name; they go into RunFinished."""
        return self._results if self._closing is None else self._closing.results

    @results.setter
    def results(self, results: dict[str, float]) -> None:
        if self._closing is None:
            self._results = results
        else:
            self._closing.results = results

    @property
    def folder(self) -> Path | None:
        """The folder that holds the run's record files; None if it writes none."""
        return self._folder

    @property
    def paths(self) -> tuple[Path, ...]:
        """The record files of this process, oldest first, without those that RecordOptions.keep_bytes deleted.

        A child process has none before its first event was written; `flush` waits for that.
        """
        return tuple(getattr(self._core.sink, "paths", ())) if self._core is not None else ()

    def emit_always(self, message: Message) -> None:
        """Record a ready message whatever the level: RunStarted and the notice that telemetry is off."""
        if self._core is not None:
            self._core.append(*self._core.entry_of(message))

    def bind(self, *wrong: object, **context: Any) -> Emitter:
        """Return an emitter that adds `context` (env_id, device, inner_epoch, ...) to every event."""
        return self._emitter.bind(*wrong, **context)

    def wants(self, event: type[Message]) -> bool:
        """Tell whether events of this class are recorded at the level in force."""
        return self._core is not None and self._core.wants(event_type(event))

    def set_level(self, level: str, *, reason: str = "request") -> None:
        """Put another level in force from the next event on, in this process, and record that as an event.

        Args:
            level: "off", "lifecycle", "minimal", "normal" or "debug".
            reason: short and machine-readable.

        Raises:
            ConfigError: there is no such level.
        """
        number = level_number(level)
        if self._core is None or number == self._core.level:
            return
        before = self._core.level
        self._core.set_level(number)
        self.emit(run_pb2.LevelChanged, from_level=before, to_level=number, reason=reason)

    @property
    def level(self) -> str:
        """Name of the level in force."""
        number = self._core.level if self._core is not None else options_pb2.LEVEL_OFF
        return enum_labels(options_pb2.Level.DESCRIPTOR).get(number, "OFF").lower()

    def flush(self, timeout: float = 5.0, *, sync: bool = False) -> bool:
        """Hand everything emitted so far to the operating system.

        Args:
            timeout: seconds to wait at most.
            sync: force it to the disk as well.

        Returns:
            False if it could not be written in time, and stays in the buffer; if a record file was found to be gone
            since the flush before (`stats().drops` counts what was in it); and in a child process whose events are only
            counted.

        Raises:
            SinkError: only with on_error="raise", when the sink has failed.
        """
        core = self._core
        if core is None or core.closing:
            return True
        if core.writer is None:
            return not core.buffer.last_seq
        done = core.writer.flush(timeout, sync=sync)
        core.check_sink()
        return not core.housekeeping.take_removals() and done and not core.counting

    def stats(self) -> RunStats:
        """Return what was recorded and lost so far in this process."""
        core = self._core
        if core is None:
            return RunStats(0, {}, 0, {}, 0, 0, 0.0)
        recorded, drops = core.account()
        return RunStats(
            offered=sum(recorded.values()) + sum(drops.values()),
            recorded=recorded,
            dropped=sum(drops.values()),
            drops=drops,
            bytes_written=getattr(core.sink, "bytes_written", 0),
            buffer_high_water=core.buffer.high_water,
            writer_cpu_s=core.writer_cpu_seconds(),
            writer_alive=core.writer is not None and core.writer.alive,
            error=str(core.writer.error) if core.writer is not None and core.writer.error is not None else None,
            deaths=core.background.deaths,
            sink_losses=getattr(core.sink, "losses", {}),
        )

    def update_config(self, config: Any) -> None:
        """Add to the configuration of the run, or give it: frameworks have it only after the start.

        Objects are merged name by name, any other value replaces the one before. It is recorded at once, as
        RunConfigured, with the hash of the merged configuration; readers, `info` and `diff` show that.
        Threads may call it; in a child process it does nothing, for it is the run that is configured.

        Args:
            config: as in start_run; what is wrong with it costs its own values only.
        """
        core = self._core
        if core is None or core.child:
            return
        update = configuration(config, Redaction(core.options.redact))
        with self._configuring:  # the order of the events is that of the merges
            self._config = self._config.merged(update)
            self.emit_always(run_configured(update, self._config))

    def close(self, outcome: Outcome | None = None, error: BaseException | None = None, *, reason: str = "") -> None:
        """Write RunFinished and close the record; later calls do nothing. A child process closes its own stream only.

        Args:
            outcome: how the run ended: "completed", "failed", "interrupted" or "abandoned". If it is not given, the
                error decides, and without one the run is completed.
            error: the exception that ended it. If nothing is given, one that was raised since the start and is being
                handled (close() in a `finally`) is taken for it.
            reason: what the outcome does not state, in a few words.

        Raises:
            SinkError: only with on_error="raise", when the sink has failed.
        """
        if outcome is None and error is None and self._closing is not None and not self._closing.closed:
            error = self._closing.raised_since_start()
            if error is not None and not reason:
                reason = "closed while this exception was handled"
        self._close(outcome, error, reason)

    def _close(self, outcome: Outcome | None, error: BaseException | None, reason: str) -> None:
        if self._closing is None:
            return
        how = Ending(None, reason="how it ended is unknown: an exception arrived while that was determined")
        try:
            try:
                how = ending(outcome, error, reason)
            finally:
                self._closing.close(how)
        except TelemetryError:
            raise
        except Exception as failure:  # an error of ours at the end of a training is logged, never raised
            if not is_misfit(failure):  # a signal handler's, or set by another thread: the caller's
                raise
            notify(logging.ERROR, f"run {self.run_id} could not be closed in good order", failure)
            settle_notices()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._close("completed" if error is None else None, error, "")
        except TelemetryError as failure:
            if error is None:
                raise
            notify(logging.WARNING, f"run {self.run_id}: {failure}; its body raised as well, and that goes on")
            settle_notices()
