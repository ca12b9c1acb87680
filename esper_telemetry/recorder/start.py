"""Opening a run: options and environment in, a Run that has its first event on disk out."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from esper_telemetry.clock import SYSTEM_CLOCK
from esper_telemetry.errors import ConfigError, SchemaError, SinkError
from esper_telemetry.facts.redaction import Redaction
from esper_telemetry.facts.runconfig import Configuration, configuration
from esper_telemetry.facts.started import run_started
from esper_telemetry.recorder import unclosed
from esper_telemetry.recorder.arguments import (
    checked_clock,
    checked_folder,
    checked_name,
    checked_rank,
    checked_run_id,
    checked_tags,
    checked_type,
)
from esper_telemetry.recorder.core import Core
from esper_telemetry.recorder.options import RUN_ID_VARIABLE, RecordOptions, StreamOptions, disabled_by_environment
from esper_telemetry.recorder.resume import (
    begin_attempt,
    note_opened,
    resumed_folder,
    separate_run,
    switched_off_id,
)
from esper_telemetry.recorder.run import Run
from esper_telemetry.recorder.runfiles import RunFiles
from esper_telemetry.recorder.usersinks import TeeSink, checked_sinks
from esper_telemetry.schema import EventType, effective_level, event_classes, event_type, level_number
from esper_telemetry.schema.builtin import built_in_types
from esper_telemetry.v1 import options_pb2, run_pb2
from esper_telemetry.wire import check_address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from esper_telemetry.clock import Clock
    from esper_telemetry.mirrors import Mirror
    from esper_telemetry.sinks import Sink, UserSink

_log = logging.getLogger("esper_telemetry")
_START_TIMEOUT = 30.0


def start_run(
    dir: str | os.PathLike[str] | None,  # noqa: A002 - the word users expect; nothing here needs the builtin
    *,
    name: str,
    config: Any = None,
    tags: Mapping[str, Any] | None = None,
    level: str = "normal",
    lifecycle_only: bool = False,
    rank: int = 0,
    schemas: Iterable[object] = (),
    record: RecordOptions | None = None,
    collector: str | None = None,
    stream: StreamOptions | None = None,
    strict: bool = False,
    run_id: str | None = None,
    resume: str | os.PathLike[str] | None = None,
    resumed_from: Mapping[str, int] | None = None,
    control_of: str | None = None,
    sinks: Iterable[UserSink] = (),
    mirrors: Iterable[str | Mirror] = (),
    clock: Clock = SYSTEM_CLOCK,
) -> Run:
    """Open a run and write its RunStarted to disk.

    Args:
        dir: folder of runs; the record goes to `<dir>/<run_id>/`. None with a collector: a temporary spool. None when
            the folder of a run is resumed: it stays where it is.
        name: name of the run for people.
        config: what the run was configured with: a dict, Namespace, dataclass, OmegaConf, attrs or pydantic object, ...
            Recorded as canonical JSON, less what is secret by its name (RecordOptions.redact adds to those). What
            is not known is recorded as the name of its type; nothing in it can stop the start. `run.update_config`
            adds to it later.
        tags: labels for grouping runs: one text or number each; None leaves one out.
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
            ESPER_TELEMETRY_RUN_ID. Ranks of one run must be given the same. An id that this process has used
            before names another run, with a number behind the id; one that another process has used, the next
            attempt at that run.
        resume: go on with a run: its id, or its folder. Its next attempt begins, in the same folder.
        resumed_from: where it goes on: the first "step", "batch_idx", "global_epoch" or "episode" that is done
            again, such as {"step": 500}. `read(..., latest=True)` leaves out what earlier attempts did from there on.
        control_of: id of the run that this one is the control of: queries over many runs pair them.
        sinks: objects with a method `write(batch)` that get each batch after the record file has it, from a thread of
            their own (`esper_telemetry.sinks.UserSink`). A slow or failing one costs only its own batches, counted in
            `run.stats().sink_losses`; child processes do not use them.
        mirrors: dashboards that get a copy of the scalars while the run goes on: "tensorboard", "wandb", or objects of
            your own (`esper_telemetry.mirrors.Mirror`). They are sinks as those above.
        clock: source of time.

    Returns:
        The run: a context manager that marks itself failed when its body raises.

    Raises:
        MissingExtraError: the package of a mirror is not installed.
        ConfigError: an option cannot be used; there is no run to resume, or it is still being written.
        SinkError: the folder or file cannot be written.
        SchemaError: `schemas` holds something that declares no event.
    """
    chosen = effective_level(checked_type(level, str, "level"), lifecycle_only=lifecycle_only)
    name, rank = checked_name(name), checked_rank(rank)
    run_id, usual_id = checked_run_id(run_id), checked_run_id(os.environ.get(RUN_ID_VARIABLE))
    record = checked_type(record, RecordOptions, "record") or RecordOptions()
    control = checked_type(control_of, str, "control_of")
    if disabled_by_environment():
        return Run(None, run_id or switched_off_id(resume) or usual_id or "disabled", None)
    unclosed.close_forgotten()
    if checked_type(collector, str, "collector") is not None:
        stream = checked_type(stream, StreamOptions, "stream") or StreamOptions()
        record = replace(record, flush_interval=min(record.flush_interval, stream.flush_interval))
    checked_clock(clock)
    listed = checked_sinks(sinks)
    mirrored = _mirrors(mirrors)
    redaction = Redaction(record.redact)
    clean_tags = checked_tags(tags, redaction)
    root = _root(checked_folder(dir), collector)
    spool = root if dir is None else None
    try:
        if resume is not None:
            folder = resumed_folder(root, resume, run_id, spool=spool is not None)
        else:
            folder = _own_folder(root, run_id or usual_id, name, rank, clock)
        attempt = begin_attempt(folder, rank, resumed_from, resume=resume is not None)
    except OSError as error:  # a folder that may not be looked into, a name that is too long
        raise SinkError(
            f"{error.filename}: cannot be looked into: {error.strerror}; check path and permissions"
        ) from error
    given = None if config is None else configuration(config, redaction)
    started = run_started(name, folder.name, given, clean_tags, argv=record.argv, redaction=redaction)
    started.attempt = attempt.number
    if control is not None:
        started.control_of = control
    files = RunFiles(
        folder.parent,
        folder.name,
        name,
        rank,
        started.host.hostname,
        record,
        attempt=attempt.number,
        launch=attempt.launch,
        watch_earlier=collector is None or stream is None or (stream.keep_local and folder.parent != spool),
        compacts=record.compact and collector is None,
    )
    core = Core(record, clock, event_types(schemas), chosen, strict=strict, files=files)
    if mirrored:
        from esper_telemetry.mirrors import MirroredRun, mirror_sinks

        listed += mirror_sinks(mirrored, MirroredRun(folder.name, name, folder, rank))

    def make_sink(stream: Core) -> Sink:
        file = files.own_sink(stream)
        return TeeSink(file, listed, stream.types, record.close_timeout / 2) if listed else file

    run = open_run(
        core, make_sink, started, attempt.resumed,
        level=level, lifecycle_only=lifecycle_only, folder=folder, config=given,
    )  # fmt: skip
    note_opened(folder, rank)
    if collector is not None and stream is not None:
        from esper_telemetry.recorder.agent_process import start_agent

        try:
            start_agent(folder, collector, stream, temporary=folder.parent == spool, compact=record.compact)
        except BaseException as error:  # an interrupt
            _break_off(core, run, error)
            raise
    return run


def _mirrors(mirrors: Iterable[str | Mirror]) -> list[Mirror]:
    if not mirrors:
        return []
    from esper_telemetry.mirrors import checked_mirrors  # only who mirrors pays for the import

    return checked_mirrors(mirrors)


def _root(folder: Path | None, collector: str | None) -> Path | None:
    if collector is not None:
        check_address(collector)
        if folder is None:
            from esper_telemetry.recorder.agent_process import spool_folder  # subprocess: only runs that stream pay

            return spool_folder()
    if folder is None:
        return None
    with contextlib.suppress(OSError):  # the working directory may have been removed
        return folder.absolute()  # a daemon changes its directory, and a child writes to the same folder all the same
    return folder


def _own_folder(root: Path | None, run_id: str | None, name: str, rank: int, clock: Clock) -> Path:
    """Return the folder of a run that is not asked to be resumed; it need not exist.

    Raises:
        ConfigError: there is no folder of runs, or the id cannot be a folder in it.
    """
    if root is None:
        raise ConfigError("dir is None: name the folder that run folders are made in, such as 'runs'")
    if not run_id:
        return root / new_run_id(name, clock)
    from esper_telemetry.sinks import path_component  # zstandard: only when a file is written

    return separate_run(root / path_component("run id", run_id), rank)


def open_run(
    core: Core,
    make_sink: Callable[[Core], Sink],
    started: run_pb2.RunStarted,
    resumed: run_pb2.RunResumed | None = None,
    *,
    level: str = "normal",
    lifecycle_only: bool = False,
    folder: Path | None = None,
    config: Configuration | None = None,
) -> Run:
    """Start `core` on a sink, with its first events written and synced; what breaks it off leaves nothing open.

    Raises:
        SinkError: the sink could not be opened, or they could not be written.
    """
    run = None
    try:
        core.open(make_sink, _START_TIMEOUT)
        run = Run(core, started.run_id, folder, config)
        started.telemetry.CopyFrom(_settings(core, level, lifecycle_only=lifecycle_only))
        run.emit_always(started)
        if resumed is not None:
            run.emit_always(resumed)
        if level_number(level) == options_pb2.LEVEL_OFF:
            run.emit_always(_disabled_notice(core, lifecycle_only=lifecycle_only))
        _await_first_write(core, folder)
        if core.options.system_interval is not None:
            from esper_telemetry.recorder.sampler import start_sampler  # ctypes: only runs that sample pay

            start_sampler(core, core.options.system_interval)
        return run  # noqa: TRY300 - it is not handed over yet, and an exception may arrive here as well
    except BaseException as error:  # an interrupt too: neither a thread nor an open file stays behind
        _break_off(core, run, error)
        raise


def _break_off(core: Core, run: Run | None, error: BaseException) -> None:
    """End what was begun, as far as it came."""
    if run is not None:
        run.close("failed" if isinstance(error, Exception) else "interrupted", error)
    else:
        core.finish(run_pb2.RunFinished(outcome=run_pb2.RUN_OUTCOME_INTERRUPTED))


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
        children=core.options.children,
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
        SchemaError: `schemas` is no list, or an item of it declares no event.
    """
    given: Any = schemas
    if not isinstance(given, Iterable):
        raise SchemaError(f"schemas is of type {type(given).__name__}; give a list of modules, such as [beam_pb2]")
    classes: list[type] = []
    for item in schemas:
        classes.extend([item] if isinstance(item, type) else event_classes(item))
    return list(dict.fromkeys([*built_in_types(), *(event_type(cls) for cls in classes)]))


def new_run_id(name: str, clock: Clock = SYSTEM_CLOCK) -> str:
    """Return a run id such as 20261122T223328Z-digits-1f3a9c: it sorts by time and is safe in a path."""
    started = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(clock.wall_ns() // 1_000_000_000))
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")[:40] or "run"
    return f"{started}-{slug}-{os.urandom(3).hex()}"
