"""Where the streams of one run are written, and what their headers have in common.

A run has the stream of the process that started it, and one for each child process that emits. RunFiles is plain data,
so a handle that travels to another process carries it along.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from esper_telemetry.recorder.notices import write_line
from esper_telemetry.schema.builtin import IN_EVERY_RUN, is_built_in
from esper_telemetry.v1 import run_pb2

if TYPE_CHECKING:
    from pathlib import Path

    from esper_telemetry.clock import Clock
    from esper_telemetry.recorder.buffer import Buffer
    from esper_telemetry.recorder.options import RecordOptions
    from esper_telemetry.schema import Batch, EventType
    from esper_telemetry.sinks import ChildSink, FileSink, HeaderInfo, Sink, Vanished

_UNBOUNDED = 1 << 60  # a child has one segment, however long it lives
# What the recorder itself adds to the stream of a child.
_OWN_EVENTS = (run_pb2.StreamFinished.DESCRIPTOR.full_name, run_pb2.DropReport.DESCRIPTOR.full_name)


class Stream(Protocol):
    """What the files need of the stream that they hold."""

    clock: Clock
    files: RunFiles | None

    @property
    def buffer(self) -> Buffer:
        """Its buffer, whose timeline has the anchor of its times."""

    def types(self) -> list[tuple[int, EventType]]:
        """Return the type table."""

    def record_vanished(self, vanished: Vanished) -> None:
        """Count the events of a file that was taken away."""


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of one run, as one rank of it writes them.

    Attributes:
        root: folder of runs.
        run_id: the run; its folder is below `root`.
        run_name: the name the user gave it.
        rank: distributed rank.
        host: where it runs.
        options: how they are written.
        attempt: attempt at the run, from 1.
        launch: launch of the process; empty where no launcher names it.
        watch_earlier: no other process may take closed segments away.
        compacts: closed segments are rewritten into full frames when the run is closed.
        producer_id: 16 bytes, of the stream of the process that started the run.
    """

    root: Path
    run_id: str
    run_name: str
    rank: int
    host: str
    options: RecordOptions
    attempt: int = 1
    launch: str = ""
    watch_earlier: bool = True
    compacts: bool = True
    producer_id: bytes = field(default_factory=lambda: os.urandom(16))

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.root / self.run_id

    def own_sink(self, stream: Stream) -> FileSink:
        """Open the stream of the process that starts the run.

        Raises:
            ConfigError: a name cannot be used.
            SinkError: folder or file cannot be written.
        """
        from esper_telemetry.sinks import FileSink  # zstandard: only when a file is written

        options, types = self.options, stream.types()
        return FileSink(
            self.root,
            self._header(stream, self.producer_id),
            types,
            first=[number for number, one in types if _is_declared_first(one.full_name)],
            sync=options.sync,
            sync_interval_s=options.flush_interval,
            max_bytes=options.segment_bytes,
            max_age_s=options.segment_seconds,
            keep_bytes=options.keep_bytes,
            watch_earlier=self.watch_earlier,
            on_vanished=stream.record_vanished,
            clock=stream.clock,
        )

    def child_sink(self, stream: Stream) -> ChildSink:
        """Return the sink of a child process; nothing is opened before it is written to."""
        from esper_telemetry.sinks import CHILD_STREAM, MOST_CHILDREN, ChildSink, FileSink

        options, own = self.options, {number for number, one in stream.types() if one.full_name in _OWN_EVENTS}
        header = self._header(stream, os.urandom(16), stream=CHILD_STREAM, parent_producer_id=self.producer_id)

        def open_file() -> FileSink:
            return FileSink(
                self.root,
                header,
                stream.types(),
                sync=options.sync,
                sync_interval_s=options.flush_interval,
                max_bytes=_UNBOUNDED,
                max_age_s=_UNBOUNDED,
                on_vanished=stream.record_vanished,
                clock=stream.clock,
            )

        limit = MOST_CHILDREN if options.children == "record" else 0
        return ChildSink(self.folder, self.rank, self.producer_id, open_file, limit=limit, own_types=own)

    def _header(self, stream: Stream, producer_id: bytes, /, **more: Any) -> HeaderInfo:
        from esper_telemetry.sinks import HeaderInfo

        return HeaderInfo(
            run_id=self.run_id,
            producer_id=producer_id,
            rank=self.rank,
            run_name=self.run_name,
            host=self.host,
            attempt=self.attempt,
            launch=self.launch,
            anchor_unix_nano=stream.buffer.timeline.anchor.unix_nano,
            anchor_monotonic_nano=stream.buffer.timeline.anchor.monotonic_nano,
            frame_bytes=self.options.frame_bytes,
            flush_interval_s=self.options.flush_interval,
            sync=self.options.sync,
            **more,
        )


def child_sink(stream: Stream) -> Sink:
    """Return where the events of this child process go."""
    return stream.files.child_sink(stream) if stream.files is not None else _NowhereSink()


class _NowhereSink:
    """Takes the events of a child whose parent keeps its own in memory: that memory is not shared."""

    counting = True

    def __init__(self) -> None:
        write_line(logging.WARNING, "this run keeps its events in memory: those of child processes are not recorded")

    def write(self, batch: Batch) -> None:
        """Take a batch and forget it."""

    def sync(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def _is_declared_first(full_name: str) -> bool:
    """Tell whether a type is declared before its first event.

    A reader knows the built-in types, and answers for those that a run has no event of; it can know those of a schema
    that was given to the run from the record alone: "no seed was kept" is an answer, "what is a kept seed" is none.
    """
    return full_name in IN_EVERY_RUN or not is_built_in(full_name)
