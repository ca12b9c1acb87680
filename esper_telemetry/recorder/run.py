"""The run a trainer holds: a context manager that records events, and its statistics."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from esper_telemetry.errors import TelemetryError
from esper_telemetry.facts.configuration import Configuration, configuration
from esper_telemetry.facts.redaction import Redaction
from esper_telemetry.facts.started import run_configured
from esper_telemetry.recorder.closing import Closing
from esper_telemetry.recorder.emitter import Emitter
from esper_telemetry.recorder.ending import Ending, ending
from esper_telemetry.schema import enum_labels, event_type, level_number
from esper_telemetry.v1 import options_pb2, run_pb2

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from google.protobuf.message import Message

    from esper_telemetry.recorder.core import Core
    from esper_telemetry.recorder.ending import Outcome
    from esper_telemetry.sinks import Sink

_log = logging.getLogger("esper_telemetry")


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
    """

    offered: int
    recorded: dict[str, int]
    dropped: int
    drops: dict[tuple[str, str], int]
    bytes_written: int
    buffer_high_water: int
    writer_cpu_s: float


class Run:
    """A run of a trainer: emit events, bind context, and close it (best as a context manager).

    Attributes:
        run_id: names the run and its folder.
    """

    def __init__(
        self,
        core: Core | None,
        sink: Sink | None,
        run_id: str,
        folder: Path | None,
        config: Configuration | None = None,
    ) -> None:
        self.run_id = run_id
        self._core = core
        self._sink = sink
        self._folder = folder
        self._emitter = Emitter(core, {})
        self.emit = self._emitter.emit
        self._config = config or Configuration({})
        self._configuring = threading.RLock()
        # It outlives this object when nobody closes it (openruns.py), and so it holds what RunFinished needs.
        self._closing = Closing(core, run_id) if core is not None else None
        self._results: dict[str, float] = {}  # of a run that is switched off

    # Bound in the constructor: one call less on the hot path. The declaration gives it a type.
    emit: Callable[..., None]

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
        if self._core is None or self._core.writer is None or self._closing is None or self._closing.closed:
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
        losses = core.buffer.ledger.losses.copy()
        return RunStats(
            offered=core.buffer.last_seq,
            recorded={names[number]: count for number, count in sorted(core.buffer.counted().items())},
            dropped=losses.total(),
            drops={(name, causes[cause]): count for (name, cause), count in losses.items()},
            bytes_written=getattr(self._sink, "bytes_written", 0),
            buffer_high_water=core.buffer.high_water,
            writer_cpu_s=core.writer_cpu_seconds(),
        )

    def update_config(self, config: Any) -> None:
        """Add to the configuration of the run, or give it: frameworks have it only after the start.

        Objects are merged name by name, any other value replaces the one before. It is recorded at once, as
        RunConfigured, with the hash of the merged configuration; readers, `info` and `diff` show that.
        Threads may call it; in a fork child it does nothing.

        Args:
            config: as in start_run; what is wrong with it costs its own values only.
        """
        core = self._core
        if core is None or core.inherited:
            return
        update = configuration(config, Redaction(core.options.redact))
        with self._configuring:  # the order of the events is that of the merges
            self._config = self._config.merged(update)
            self.emit_always(run_configured(update, self._config))

    def close(self, outcome: Outcome | None = None, error: BaseException | None = None, *, reason: str = "") -> None:
        """Write RunFinished and close the record; later calls do nothing.

        Args:
            outcome: how the run ended: "completed", "failed", "interrupted" or "abandoned". If it is not given, the
                error tells, and without one the run is completed.
            error: the exception that ended it. If nothing is given, one that was raised since the start and is being
                handled (close() in a `finally`) is taken for it.
            reason: what the outcome does not say, in a few words.

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
        how = Ending(None, reason="how it ended was not told: something arrived while that was looked at")
        try:
            try:
                how = ending(outcome, error, reason)
            finally:
                self._closing.close(how)
        except TelemetryError:
            raise
        except Exception:  # noqa: BLE001 - an error of ours at the end of a training is said, never raised
            _log.exception("run %s could not be closed in good order", self.run_id)

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
            _log.warning("run %s: %s; its body raised as well, and that goes on", self.run_id, failure)
