"""A child process of a run: where its events go, how its stream ends, and what makes it end in time.

A child of multiprocessing leaves by os._exit, past atexit; its last word is a finalizer of multiprocessing. Any other
leaves through atexit, or is killed, and then it loses at most one flush interval.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Literal

from esper_telemetry.v1 import run_pb2

if TYPE_CHECKING:
    from esper_telemetry.recorder.core import Core
    from esper_telemetry.schema.batch import Batch
    from esper_telemetry.sinks import Sink

    Reason = Literal["closed", "failed", "exit"]

_log = logging.getLogger("esper_telemetry")
_AFTER_ALL_OTHERS = -1000  # of the finalizers of multiprocessing: they may emit


def child_sink(core: Core) -> Sink:
    """Return where the events of this child process go."""
    return core.files.child_sink(core) if core.files is not None else _NowhereSink()


class _NowhereSink:
    """Takes the events of a child whose parent keeps its own in memory: that memory is not shared."""

    counting = True

    def __init__(self) -> None:
        _log.warning("this run keeps its events in memory: those of child processes are not recorded")

    def write(self, batch: Batch) -> None:
        """Take a batch and forget it."""

    def sync(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def close_before_exit(core: Core) -> None:
    """Have the stream closed when this process ends as a child of multiprocessing; for others atexit does it."""
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, close_stream, (core, "exit"), exitpriority=_AFTER_ALL_OTHERS)


def close_stream(core: Core, reason: Reason, error_type: str | None = None) -> None:
    """End the stream of this child process; one that has emitted nothing has none. A second call does nothing."""
    if not core.closed:
        core.finish(
            run_pb2.StreamFinished(
                reason=reason,
                error_type=error_type,
                duration_s=time.monotonic() - core.opened_at,
            )
        )
