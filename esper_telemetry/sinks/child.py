"""The stream of a child process: a file of its own beside its parent's, opened by the thread that writes it.

The emitting thread of a child never waits for a disk, so the file is opened with the first batch. Where the run has
as many streams of children as it may, the batches are counted instead: in a small file of the run folder, one slot for
each child. A child appends its slot once and rewrites it alone, so no process waits for another. The run's own process
adds the slots up and reports the sum in its stream; that file is no part of the record.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import time
from typing import TYPE_CHECKING

from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile.lock import try_lock, unlock, writer_gone
from esper_telemetry.recordfile.paths import SUFFIX, SegmentName

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from esper_telemetry.schema.batch import Batch
    from esper_telemetry.sinks.file import FileSink

_log = logging.getLogger("esper_telemetry")

TALLY_NAME = "children.count"
_SLOT = struct.Struct("<QQ")  # process id, events
CHILD_STREAM = "worker"
MOST_CHILDREN = 64
"""Streams of children beside the stream of one process; a run that starts a child for each batch fills no folder."""

# A sibling holds the folder's lock while it opens its file: milliseconds. Only the writer thread waits.
_TRIES, _PAUSE_S = 400, 0.005


class ChildSink:
    """A sink that begins with its first batch, and then records or counts.

    Args:
        folder: the run folder.
        rank: rank of the process tree; the children of each have a limit of their own, and so have those of each
            attempt at a run.
        parent: producer id of the process that started the run.
        open_file: opens the file of this child.
        limit: streams of children that may be; 0 only counts.
        own_types: ids of events that the recorder adds itself; they are not counted.

    Attributes:
        counting: this child has no stream; its events are counted.
    """

    def __init__(
        self,
        folder: Path,
        rank: int,
        parent: bytes,
        open_file: Callable[[], FileSink],
        *,
        limit: int = MOST_CHILDREN,
        own_types: Collection[int] = (),
    ) -> None:
        self._folder = folder
        self._rank = rank
        self._parent = parent
        self._open_file = open_file
        self._limit = limit
        self._own_types = own_types
        self._file: FileSink | None = None
        self._tally: ChildTally | None = None
        self._last_seq = 0
        self.counting = not limit

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of this child; none before its first event was written."""
        return self._file.paths if self._file is not None else ()

    @property
    def bytes_written(self) -> int:
        """Bytes in them."""
        return self._file.bytes_written if self._file is not None else 0

    def write(self, batch: Batch) -> None:
        """Append `batch`, or count its events.

        Raises:
            SinkError: it was neither written nor counted; it may be given again.
        """
        if self._file is None and not self.counting:
            self._begin()
        if self._file is not None:
            self._file.write(batch)
        else:
            self._count(batch)

    def sync(self) -> None:
        """Force what was written to the disk.

        Raises:
            SinkError: the operating system refused.
        """
        if self._file is not None:
            self._file.sync()

    def check(self) -> None:
        """Look whether the file is still there."""
        if self._file is not None:
            self._file.check()

    def close(self) -> None:
        """Close the file; a second call does nothing.

        Raises:
            SinkError: the footer could not be written; the file is readable without it.
        """
        if self._file is not None:
            self._file.close()
        if self._tally is not None:
            self._tally.close()

    def _begin(self) -> None:
        with _alone(self._folder):
            if len(child_streams(self._folder, self._rank, self._parent)) < self._limit:
                self._file = self._open_file()
            else:
                self.counting = True

    def _count(self, batch: Batch) -> None:
        """Count every number of a batch, lost ones too: none of them is in any stream."""
        if self._tally is None:
            self._tally = ChildTally(self._folder)
            if self._tally.first:
                _log.warning("%s: %s", self._folder, _reason(self._limit))
        own = sum(batch.type_counts[number] for number in self._own_types)
        self._tally.add(batch.last_seq - self._last_seq - own)
        self._last_seq = batch.last_seq


def _reason(limit: int) -> str:
    if not limit:
        return "events of child processes are counted and not recorded, as RecordOptions(children='count') asks"
    return (
        f"{limit} child processes have recorded here, which is the most; events of further ones are counted and not"
        " recorded. Keep workers alive (persistent_workers=True), or emit in the process that started the run"
    )


def child_streams(folder: Path, rank: int, parent: bytes) -> set[str]:
    """Return the streams of a parent's children by the names of files: one short name for each.

    A name contains when its stream began; those from before the parent are of an earlier attempt at the run.
    """
    names = [name for path in folder.glob(f"*-r{rank}-*{SUFFIX}") if (name := SegmentName.parse(path)) is not None]
    since = min((name.started for name in names if name.boot == parent[:4].hex()), default="")
    return {f"{name.started}-{name.boot}" for name in names if name.stream == CHILD_STREAM and name.started >= since}


def stream_is_written(folder: Path, producer_id: bytes) -> bool:
    """Tell whether the process that writes a stream still does: it holds the lock of the last segment."""
    found = [(name.segment, path) for path in folder.glob(f"*{SUFFIX}") if (name := SegmentName.parse(path))]
    mine = [pair for pair in found if f"-{producer_id[:4].hex()}-" in pair[1].name]
    with contextlib.suppress(OSError):
        return bool(mine) and not writer_gone(max(mine)[1])
    return False


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, so that siblings are counted one after the other; where locks fail, go on."""
    fd = None
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        for _ in range(_TRIES):
            if try_lock(fd):
                break
            time.sleep(_PAUSE_S)
    try:
        yield
    finally:
        if fd is not None:
            unlock(fd)
            os.close(fd)


class ChildTally:
    """The slot of this process.

    Args:
        folder: the run folder; it is made if it was removed.

    Raises:
        SinkError: the file cannot be written.

    Attributes:
        first: no other child has a slot.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / TALLY_NAME
        self._events = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab", buffering=0) as file:
                file.write(_SLOT.pack(os.getpid(), 0))
                self._at = file.tell() - _SLOT.size
            self._file = self._path.open("r+b", buffering=0)
        except OSError as error:
            raise SinkError(f"{self._path}: cannot count: {error}; check folder and permissions") from error
        self.first = self._at == 0

    def add(self, events: int) -> None:
        """Count `events` more.

        Raises:
            SinkError: the operating system refused; nothing is counted.
        """
        try:
            self._file.seek(self._at)
            self._file.write(_SLOT.pack(os.getpid(), self._events + events))
        except OSError as error:
            raise SinkError(f"{self._path}: cannot count: {error}; check the disk") from error
        self._events += events

    def close(self) -> None:
        """Close the file; the count stays in it."""
        self._file.close()


def tallied(folder: Path) -> int:
    """Return the events that children of the run in `folder` have counted; 0 if there are none."""
    try:
        data = (folder / TALLY_NAME).read_bytes()
    except OSError:
        return 0
    whole = len(data) - len(data) % _SLOT.size
    return sum(events for _, events in _SLOT.iter_unpack(data[:whole]))


def remove_tally(folder: Path) -> None:
    """Remove the counts of a run that has reported them."""
    with contextlib.suppress(OSError):
        (folder / TALLY_NAME).unlink(missing_ok=True)
