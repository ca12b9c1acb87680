"""Opening a run: options and environment in, a Run that has its first event on disk out."""

from __future__ import annotations

import logging
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esper_telemetry.clock import SYSTEM_CLOCK
from esper_telemetry.errors import ConfigError, SinkError
from esper_telemetry.recorder.core import Core
from esper_telemetry.recorder.facts import run_started
from esper_telemetry.recorder.options import RUN_ID_VARIABLE, RecordOptions, StreamOptions, disabled_by_environment
from esper_telemetry.recorder.run import Run
from esper_telemetry.schema import EventType, effective_level, event_classes, event_type, level_number
from esper_telemetry.v1 import logged_pb2, options_pb2, process_pb2, rl_pb2, run_pb2, steps_pb2, training_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from esper_telemetry.clock import Clock
    from esper_telemetry.sinks import FileSink, Sink

_log = logging.getLogger("esper_telemetry")
_BUILT_IN = (run_pb2, training_pb2, rl_pb2, logged_pb2, process_pb2, steps_pb2)
_START_TIMEOUT = 30.0


def start_run(
    dir: str | os.PathLike[str] | None,  # noqa: A002 - the word users expect; nothing here needs the builtin
    *,
    name: str,
    config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    level: str = "normal",
    lifecycle_only: bool = False,
    rank: int = 0,
    schemas: Iterable[object] = (),
    record: RecordOptions | None = None,
    collector: str | None = None,
    stream: StreamOptions | None = None,
    strict: bool = False,
    run_id: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Run:
    """Open a run and write its RunStarted to disk.

    Args:
        dir: folder of runs; the record goes to `<dir>/<run_id>/`. None with a collector: a temporary spool.
        name: name of the run for people.
        config: what the run was configured with; recorded as canonical JSON.
        tags: labels for grouping runs.
        level: "off", "lifecycle", "minimal", "normal" or "debug": events above it are not recorded.
        lifecycle_only: let lifecycle events flow whatever the level (a floor: "normal" stays "normal").
        rank: distributed rank of this process; ranks of one run share `run_id`.
        schemas: generated modules (`beam_pb2`) or event classes to declare in the file's first header.
            Events of other types are accepted as well and declared when they first appear.
        record: how the local record is written.
        collector: "host:port" to stream to, by an agent: a process of its own that outlives this one. Whether
            the collector answers makes no difference here.
        stream: how to stream.
        strict: raise errors of a call instead of counting them; for tests.
        run_id: names the run and its folder; made from time and name if not given here or in
            ESPER_TELEMETRY_RUN_ID. Ranks of one run must be given the same.
        clock: source of time.

    Returns:
        The run: a context manager that marks itself failed when its body raises.

    Raises:
        ConfigError: an option cannot be used.
        SinkError: the folder or file cannot be written.
        SchemaError: `schemas` holds something that declares no event.
    """
    chosen = effective_level(level, lifecycle_only=lifecycle_only)
    record = record or RecordOptions()
    if disabled_by_environment():
        return Run(None, None, run_id or "disabled", None)
    if collector is None and dir is None:
        raise ConfigError("dir is None: name the folder that run folders are made in, such as 'runs'")
    if collector is not None:
        stream = stream or StreamOptions()
        record = replace(record, flush_interval=min(record.flush_interval, stream.flush_interval))
    root = _root(dir, collector)
    if rank < 0:
        raise ConfigError(f"rank is {rank}; it must be 0 or more")
    run_id = run_id or os.environ.get(RUN_ID_VARIABLE) or new_run_id(name, clock)
    core = Core(record, clock, event_types(schemas), chosen, strict=strict)
    started = run_started(name, run_id, config, tags)

    def file_sink(core: Core) -> FileSink:
        from esper_telemetry.sinks import FileSink, HeaderInfo  # zstandard: only when a file is written

        header = HeaderInfo(
            run_id=run_id,
            producer_id=os.urandom(16),
            rank=rank,
            run_name=name,
            anchor_unix_nano=core.buffer.anchor_unix_nano,
            anchor_monotonic_nano=core.buffer.anchor_monotonic_nano,
            frame_bytes=record.frame_bytes,
            flush_interval_s=record.flush_interval,
            sync=record.sync,
        )
        return FileSink(
            root,
            header,
            core.declared,
            sync=record.sync,
            sync_interval_s=record.flush_interval,
            max_bytes=record.segment_bytes,
            max_age_s=record.segment_seconds,
            keep_bytes=record.keep_bytes,
            clock=clock,
        )

    folder = root / run_id
    run = open_run(core, file_sink, started, level=level, lifecycle_only=lifecycle_only, folder=folder)
    if collector is not None and stream is not None:
        from esper_telemetry.recorder.agent_process import start_agent

        start_agent(folder, collector, stream, temporary=dir is None)
    return run


def _root(dir: str | os.PathLike[str] | None, collector: str | None) -> Path:  # noqa: A002 - as in start_run
    if collector is not None:
        from esper_telemetry.recorder.agent_process import check_collector, spool_folder  # only who streams pays

        check_collector(collector)
        if dir is None:
            return spool_folder()
    return Path(dir or ".")


def open_run(
    core: Core,
    make_sink: Callable[[Core], Sink],
    started: run_pb2.RunStarted,
    *,
    level: str = "normal",
    lifecycle_only: bool = False,
    folder: Path | None = None,
) -> Run:
    """Start `core` on a sink, with its first events written and synced; what breaks it off leaves nothing open.

    Raises:
        SinkError: the sink could not be opened, or they could not be written.
    """
    run = None
    try:
        sink = core.open(make_sink, _START_TIMEOUT)
        run = Run(core, sink, started.run_id, folder)
        started.telemetry.CopyFrom(_settings(core, level, lifecycle_only=lifecycle_only))
        run.emit_always(started)
        if level_number(level) == options_pb2.LEVEL_OFF:
            run.emit_always(_disabled_notice(core, lifecycle_only=lifecycle_only))
        _await_first_write(core, folder)
        if core.options.system_interval is not None:
            from esper_telemetry.recorder.sampler import start_sampler  # ctypes: only who samples pays

            start_sampler(core, core.options.system_interval)
    except BaseException as error:  # an interrupt too: neither a thread nor an open file stays behind
        if run is not None:
            run.close("failed" if isinstance(error, Exception) else "interrupted", error)
        else:
            core.finish(run_pb2.RunFinished(outcome=run_pb2.RUN_OUTCOME_INTERRUPTED))
        raise
    return run


def _await_first_write(core: Core, folder: Path | None) -> None:
    if core.writer is None or not core.writer.flush(_START_TIMEOUT, sync=True):
        reason = core.writer.error if core.writer is not None else None
        raise SinkError(f"{folder}: RunStarted could not be written: {reason or 'the disk did not answer'}")


def _settings(core: Core, level: str, *, lifecycle_only: bool) -> run_pb2.TelemetrySettings:
    return run_pb2.TelemetrySettings(
        level=level_number(level),  # type: ignore[arg-type]  # a number of the enum
        lifecycle_only=lifecycle_only,
        buffer_bytes=core.options.buffer_bytes,
        flush_interval_s=core.options.flush_interval,
        sync=core.options.sync,
    )


def _disabled_notice(core: Core, *, lifecycle_only: bool) -> run_pb2.TelemetryDisabled:
    text = (
        "telemetry is off by its level, but lifecycle events still flow (lifecycle-only)"
        if lifecycle_only
        else "telemetry is off by its level: nothing is recorded between this event and the end of the run"
    )
    _log.warning("%s", text)
    return run_pb2.TelemetryDisabled(
        level=core.level,  # type: ignore[arg-type]  # a number of the enum
        lifecycle_only=lifecycle_only,
        reason="level",
        message=text,
    )


def event_types(schemas: Iterable[object]) -> list[EventType]:
    """Return the built-in event types and those of `schemas` (generated modules or event classes).

    Raises:
        SchemaError: an item of `schemas` declares no event.
    """
    classes = [cls for module in _BUILT_IN for cls in event_classes(module)]
    for item in schemas:
        classes.extend([item] if isinstance(item, type) else event_classes(item))
    return list(dict.fromkeys(event_type(cls) for cls in classes))


def new_run_id(name: str, clock: Clock = SYSTEM_CLOCK) -> str:
    """Return a run id such as 20261122T223328Z-digits-1f3a9c: it sorts by time and is safe in a path."""
    started = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(clock.wall_ns() // 1_000_000_000))
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")[:40] or "run"
    return f"{started}-{slug}-{os.urandom(3).hex()}"
