"""The run a trainer holds: a context manager that records events, and its statistics."""

from __future__ import annotations

import atexit
import logging
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from esper_telemetry.errors import SchemaError
from esper_telemetry.recorder.emitter import Emitter
from esper_telemetry.recorder.shorthand import Shorthand
from esper_telemetry.schema import enum_labels, event_type, level_number
from esper_telemetry.schema.guard import plain_value
from esper_telemetry.v1 import options_pb2, run_pb2

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from google.protobuf.message import Message

    from esper_telemetry.recorder.core import Core
    from esper_telemetry.sinks import Sink

_log = logging.getLogger("esper_telemetry")
_MESSAGE_LIMIT = 4096
_TERMINATED = 128 + signal.SIGTERM  # what a program exits with that handles SIGTERM, as a shell reports it

Outcome = Literal["completed", "failed", "interrupted"]
_OUTCOMES: dict[Outcome, run_pb2.RunOutcome] = {
    "completed": run_pb2.RUN_OUTCOME_COMPLETED,
    "failed": run_pb2.RUN_OUTCOME_FAILED,
    "interrupted": run_pb2.RUN_OUTCOME_INTERRUPTED,
}


@dataclass(frozen=True, slots=True)
class RunStats:
    """What a run has recorded and lost so far.

    Attributes:
        offered: events that passed the level, lost ones included.
        recorded: events accepted, by short name.
        dropped: events lost.
        drops: losses by (full message name, cause), causes as in DropCause.
        bytes_written: bytes in the record's files.
        buffer_high_water: most bytes that ever waited for the disk.
        writer_cpu_s: processor time of the writer thread, in seconds.
        writer_alive: the writer thread is at work. It ends with the run; before that it should not.
        error: what keeps events from being written at the moment; None if nothing does.
        deaths: threads beside the writer that died (the system sampler, the reader of artifacts), and of what.
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


class Run(Shorthand):
    """A run of a trainer: emit events, bind context, and close it (best as a context manager).

    Attributes:
        run_id: names the run and its folder.
        results: final scalars of the run; they go into RunFinished.
    """

    def __init__(self, core: Core | None, sink: Sink | None, run_id: str, folder: Path | None) -> None:
        self.run_id = run_id
        self.results: dict[str, float] = {}
        self._core = core
        self._sink = sink
        self._folder = folder
        self._emitter = Emitter(core, {})
        self._started = time.monotonic()
        self._closed = core is None
        self.emit = self._emitter.emit
        if core is not None:
            atexit.register(self._close_at_exit)

    # Bound in the constructor: one call less on the hot path. The declaration gives it a type.
    emit: Callable[..., None]

    @property
    def folder(self) -> Path | None:
        """The folder that holds the run's record files; None if it writes none."""
        return self._folder

    @property
    def paths(self) -> tuple[Path, ...]:
        """The record files of this process, oldest first, without those that RecordOptions.keep_bytes deleted."""
        return tuple(getattr(self._sink, "paths", ()))

    def emit_always(self, message: Message) -> None:
        """Record a ready message whatever the level: RunStarted and the notice that telemetry is off."""
        if self._core is not None:
            self._core.buffer.append(self._core.plan(type(message), b""), message.SerializeToString())

    def bind(self, **context: Any) -> Emitter:
        """Return an emitter that adds `context` (env_id, device, inner_epoch, ...) to every event."""
        return self._emitter.bind(**context)

    def wants(self, event: type[Message]) -> bool:
        """Tell whether events of this class are recorded at the level in force."""
        return self._core is not None and self._core.wants(event_type(event))

    def set_level(self, level: str, *, reason: str = "request") -> None:
        """Put another level in force from the next event on, and record that as an event.

        Args:
            level: "off", "lifecycle", "minimal", "normal" or "debug".
            reason: short and machine-readable.

        Raises:
            ConfigError: there is no such level.
        """
        number = level_number(level)
        if self._core is None or self._core.inherited or number == self._core.level:
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
            False if it could not be written in time; it stays in the buffer then.

        Raises:
            SinkError: only with on_error="raise", when the sink has failed.
        """
        if self._core is None or self._core.writer is None or self._closed:
            return True
        done = self._core.writer.flush(timeout, sync=sync)
        self._core.check_sink()
        return done

    def stats(self) -> RunStats:
        """Return what was recorded and lost so far."""
        core = self._core
        if core is None:
            return RunStats(0, {}, 0, {}, 0, 0, 0.0)
        names = {number: one.name for number, one in core.types()}
        causes = enum_labels(run_pb2.DropCause.DESCRIPTOR)
        account = core.buffer.account()
        return RunStats(
            offered=account.offered,
            recorded={names[number]: count for number, count in sorted(account.recorded.items())},
            dropped=account.losses.total(),
            drops={(name, causes[cause]): count for (name, cause), count in account.losses.items()},
            bytes_written=getattr(self._sink, "bytes_written", 0),
            buffer_high_water=core.buffer.high_water,
            writer_cpu_s=core.writer_cpu_seconds(),
            writer_alive=core.writer is not None and core.writer.alive,
            error=str(core.writer.error) if core.writer is not None and core.writer.error is not None else None,
            deaths=core.background.deaths,
        )

    def close(self, outcome: Outcome = "completed", error: BaseException | None = None) -> None:
        """Write RunFinished and close the record; later calls do nothing.

        Args:
            outcome: how the run ended.
            error: the exception that ended it.

        Raises:
            SinkError: only with on_error="raise", when the sink has failed.
        """
        core = self._core
        if core is None or self._closed or core.inherited:
            return
        if not core.finish(self._finished(outcome, error)):
            return
        self._closed = True
        atexit.unregister(self._close_at_exit)
        stats = self.stats()
        if stats.dropped:
            _log.warning("telemetry lost %d of %d events: %s", stats.dropped, stats.offered, stats.drops)
        core.check_sink()

    def _finished(self, outcome: Outcome, error: BaseException | None) -> run_pb2.RunFinished:
        return run_pb2.RunFinished(
            outcome=_OUTCOMES[outcome],
            duration_s=time.monotonic() - self._started,
            error_type=type(error).__name__ if error is not None else None,
            error_message=str(error)[:_MESSAGE_LIMIT] if error is not None else None,
            results=self._plain_results(),
        )

    def _plain_results(self) -> dict[str, float]:
        """Return the results that are numbers on the host; the others are left out and said."""
        plain: dict[str, float] = {}
        for name, value in self.results.items():
            try:
                plain[str(name)] = float(plain_value(f"results[{name!r}]", value))
            except (TypeError, ValueError, SchemaError) as error:
                _log.warning("results[%r] was left out of RunFinished: %s", name, error)
        return plain

    def _close_at_exit(self) -> None:
        """Close a run that its program left open; an uncaught exception marks it failed."""
        error = getattr(sys, "last_value", None)
        if error is not None:
            self.close(*_ending(error))
        else:
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.close(*_ending(error))


def _ending(error: BaseException) -> tuple[Outcome, BaseException | None]:
    """Return what an exception says of the run it ended."""
    if isinstance(error, KeyboardInterrupt) or getattr(error, "code", None) == _TERMINATED:
        return "interrupted", error
    if isinstance(error, SystemExit) and not error.code:
        return "completed", None
    return "failed", error
