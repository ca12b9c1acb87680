"""Brings a collector's folder and its index into agreement: for a moment at the start, then beside the streams.

A start compares the time of each run's folder with the index and reads only the runs that differ: those that a kill
left open, that came from a backup, that were edited, or all of them where the index is gone. What is not read within
the first second is read while streams are served; a producer that comes back meanwhile has its own files read first.
Then each file of the other runs is compared with its row, and each run that was written to is listed again.

A file that was listed and is gone, or ends earlier, was removed or cut by hand: its numbers are reported as lost. What
the collector deletes itself is dropped from the index before. Nothing is deleted here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol

from esper_telemetry.daemon.worker import WorkerThread
from esper_telemetry.errors import RecordError, SinkError
from esper_telemetry.recordfile import SUFFIX, RecordReader
from esper_telemetry.recordfile.append import sync_folder
from esper_telemetry.recordfile.compaction import remove_left
from esper_telemetry.recordfile.lock import writer_gone
from esper_telemetry.recordfile.run_folder import first_header, is_closed
from esper_telemetry.storage.naming import ProducerKey, run_id_of
from esper_telemetry.storage.recovery import recover_producer, set_aside
from esper_telemetry.storage.segment_index import IndexedSegment
from esper_telemetry.storage.segment_writer import OWNER_ATTRIBUTE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from esper_telemetry.daemon.failures import TaskFailures
    from esper_telemetry.storage.segment_index import SegmentIndex

LOG = logging.getLogger("esper_telemetry.collector")

# A folder that was changed less than this before it was listed may change again without another time: clocks of file
# systems tick every 4 ms (ext4) to 2 s (FAT, some NFS).
_TICK_S = 2.0
_AGAIN_S = _TICK_S + 0.5
# One sync of all disks takes less than one of so many folders, at 2 to 9 ms each.
_MANY = 500
# How often progress is logged.
_TELL_S = 10.0
_LONGEST_PAUSE_S = 1.0
_IDLE_S = 60.0
_LONGEST_AGAIN_S = 600.0


class InUse(Protocol):
    """What of a folder is being written by this process."""

    @property
    def listing(self) -> threading.Lock:
        """Held while files of a producer are changed here or restored elsewhere."""

    def check_folder(self) -> None:
        """Raise SinkError where the folder of runs itself is not there: then no missing run was deleted."""

    def is_restored(self, key: ProducerKey) -> bool:
        """Return whether a producer is in memory: its files are its own then."""

    def being_written(self, folder: str) -> dict[str, ProducerKey]:
        """Return the names of files in a run's folder that are being written, each with its producer."""

    def await_compaction(self, key: ProducerKey, names: list[str]) -> None:
        """Take the news that segments of a producer were sealed that a collector had left open."""

    def lost(self, key: ProducerKey, ranges: list[tuple[int, int]]) -> None:
        """Take the report that numbers of a producer, which is not in memory, were durable and are gone."""


class FolderCheck:
    """Checks the runs below a folder, one after another. `begin`, then `start`; `close` ends it.

    Args:
        root: folder of runs.
        index: the index of it.
        in_use: what is being written.
        on_progress: called with the number of runs that are not checked yet; from any thread.
        failures: where a run that cannot be checked is recorded; it is checked again later.
    """

    def __init__(
        self,
        root: Path,
        index: SegmentIndex,
        in_use: InUse,
        on_progress: Callable[[int], object],
        failures: TaskFailures,
    ) -> None:
        self._root = root
        self._index = index
        self._in_use = in_use
        self._on_progress = on_progress
        self._unread: dict[str, None] = {}
        self._unseen: dict[str, None] = {}
        self._touched: dict[str, float] = {}
        self._lock = threading.Lock()
        self._tries: dict[str, int] = {}
        self._reported = ""
        self._is_told, self._tell_at = False, 0.0
        self._is_synced, self._synced_ns = False, 0
        self._began = time.monotonic()
        self._worker = WorkerThread("index", self._pace, failures, settled=lambda: not self._tries)

    def begin(self, seconds: float) -> list[str]:
        """Compare the folders with the index and read what differs, for at most about `seconds`.

        Returns:
            A sentence for each file that was cut, set aside or passed over.

        Raises:
            SinkError: the folder cannot be listed or synced; nothing may be acked then.
        """
        self._began = time.monotonic()
        notes: list[str] = []
        self._compare(notes)
        sync_folder(self._root)
        while self._unread and time.monotonic() < self._began + seconds:
            try:
                self._look_at(next(iter(self._unread)), notes)
            except SinkError as error:
                notes.append(f"{error}; it is tried again")
        self._tell()
        return notes

    def start(self) -> None:
        """Go on in a thread of its own."""
        self._worker.start()

    def touch(self, folder: str) -> None:
        """Have a run listed again soon: something of it was sealed. Any thread may call."""
        with self._lock:
            self._touched.setdefault(folder, time.monotonic() + _AGAIN_S)
        self._worker.wake()

    def close(self, seconds: float) -> None:
        """End the thread, and list what was touched for at most `seconds`."""
        self._worker.end()
        deadline, notes = time.monotonic() + seconds, list[str]()
        for folder in list(self._touched):
            if time.monotonic() > deadline:
                break
            with contextlib.suppress(SinkError):
                self._check(folder, notes)

    # --- which runs ---------------------------------------------------------------------------------------------------

    def _compare(self, notes: list[str]) -> None:
        known = self._index.settled()
        try:
            with os.scandir(self._root) as entries:
                found = {
                    entry.name: entry.stat(follow_symlinks=True).st_mtime_ns
                    for entry in entries
                    if not entry.name.startswith(".") and entry.is_dir()
                }
        except OSError as error:
            raise SinkError(f"{self._root}: cannot be listed: {error}; check the disk") from error
        for folder in known.keys() - found.keys():
            self._gone(folder, notes)
        differ = [folder for folder, mtime_ns in found.items() if known.get(folder) != mtime_ns]
        self._unread = dict.fromkeys(sorted(differ))
        self._unseen = dict.fromkeys(sorted(found.keys() - self._unread.keys()))
        problem = self._index.take_problem()
        if problem:
            notes.append(f"{problem}; it is made again from the files")
        elif self._unread and not known:
            LOG.info("there is no index of %s yet: it is made from the files of %d runs", self._root, len(found))

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _pace(self) -> float:
        """Take a turn; return how long to wait for the next one, seconds."""
        self._sync_many()
        began = time.thread_time()
        if not self._turn():
            return self._until_touched()
        # Streams have the interpreter for as long as a turn had it, at the least.
        return min(time.thread_time() - began, _LONGEST_PAUSE_S)

    def _sync_many(self) -> None:
        """Sync all disks once before many folders are read for the first time, instead of each of them."""
        if self._is_synced:
            return
        self._is_synced = True
        if len(self._unread) > _MANY and sys.platform == "linux":  # elsewhere it may return before all is written
            before_ns = time.time_ns() - int(_TICK_S * 1e9)
            os.sync()
            self._synced_ns = before_ns

    def _until_touched(self) -> float:
        with self._lock:
            due = next(iter(self._touched.values()), None)
        return _IDLE_S if due is None else due - time.monotonic()

    def _turn(self) -> bool:
        """Check one run, the most urgent; return whether there was one."""
        self._reported = self._reported or self._index.take_problem()
        if self._reported:
            LOG.warning("%s; it is made again from the files while streams are served", self._reported)
            self._compare([])
            self._reported = ""
        folder = self._next()
        if folder is None:
            return False
        notes: list[str] = []
        try:
            self._look_at(folder, notes)
        finally:
            for note in notes:
                LOG.warning("%s", note)
        self._tell()
        return True

    def _next(self) -> str | None:
        """Take the most urgent run; None if there is none now."""
        now = time.monotonic()
        with self._lock:
            folder, due = next(iter(self._touched.items()), (None, 0.0))  # the first is due first
            if folder is not None and due <= now:
                del self._touched[folder]
                return folder
        return next(iter(self._unread), None) or next(iter(self._unseen), None)

    def _look_at(self, folder: str, notes: list[str]) -> None:
        """Check a run; one that cannot be checked is checked again, less and less often."""
        try:
            if folder in self._unread:
                remove_left(self._root / folder)
            self._check(folder, notes)
        except BaseException:
            self._tries[folder] = tries = self._tries.get(folder, 0) + 1
            pause = min(_AGAIN_S * 2**tries, _LONGEST_AGAIN_S)
            with self._lock:
                self._touched.setdefault(folder, time.monotonic() + pause)
            raise
        finally:
            self._unread.pop(folder, None)
            self._unseen.pop(folder, None)
        self._tries.pop(folder, None)

    def _tell(self) -> None:
        left, now = len(self._unread), time.monotonic()
        self._on_progress(left)
        if left and now >= self._tell_at:
            self._is_told, self._tell_at = True, now + _TELL_S
            LOG.info(
                "%d runs are still to be read into the index; streams are served meanwhile, and a producer that comes"
                " back is read first",
                left,
            )
        elif not left and self._is_told:
            self._is_told = False
            LOG.info("the index is complete after %.1f s", now - self._began)

    # --- one run ------------------------------------------------------------------------------------------------------

    def _check(self, folder: str, notes: list[str]) -> None:
        """List a run, bring what no stream writes into order, record it.

        Raises:
            SinkError: it cannot be listed or synced.
        """
        path = self._root / folder
        try:
            mtime_ns, listed_at = path.stat().st_mtime_ns, time.time()
            known = self._index.segments(folder)
            written = self._in_use.being_written(folder)
            run = _RunFolder(path, known, notes, written)
            open_files = {key: names for key, names in run.unsealed.items() if not self._in_use.is_restored(key)}
        except FileNotFoundError:
            self._gone(folder, notes)
            return
        except OSError as error:
            raise SinkError(f"{path}: cannot be listed: {error}; check the disk and permissions") from error
        if open_files:
            for key, names in open_files.items():
                self._recover(path, key, names, notes)
            mtime_ns, listed_at = path.stat().st_mtime_ns, time.time()
            run = _RunFolder(path, known, notes, self._in_use.being_written(folder))
        self._set_aside(run, known)
        self._report(run, known)
        self._index.put(folder, run.changed)
        self._index.drop(folder, [name for name in known if name not in run.sealed and name not in run.kept])
        if run.unsealed or run.unreadable:
            self._index.settle(folder, 0)
        elif listed_at < mtime_ns / 1e9 + _TICK_S:  # also where the clock of the disk is ahead
            self._index.settle(folder, 0)
            self.touch(folder)
        elif self._index.settled_at(folder) != mtime_ns:
            if mtime_ns > self._synced_ns:
                sync_folder(path)
            self._index.settle(folder, mtime_ns)

    def _recover(self, path: Path, key: ProducerKey, names: set[str], notes: list[str]) -> None:
        with self._in_use.listing:
            if not self._in_use.is_restored(key):
                recover_producer(path, key, notes, names)
                self._in_use.await_compaction(key, sorted(names))

    def _set_aside(self, run: _RunFolder, known: dict[str, IndexedSegment]) -> None:
        """Rename what has no whole header; a file that is just being created may look so, one that was sealed not."""
        if not run.unreadable or any(self._in_use.is_restored(key) for key in run.keys):
            return
        for path, reason in list(run.unreadable.items()):
            with contextlib.suppress(OSError):
                if writer_gone(path):
                    del run.unreadable[path]
                    if path.name in known:
                        run.kept.discard(path.name)  # what it held is reported as lost
                    acked = "what it held is lost" if path.name in known else "so nothing in it was acked"
                    aside = set_aside(path).name
                    run.notes.append(f"{path}: not even its header is whole, {acked}; renamed to {aside}: {reason}")

    def _report(self, run: _RunFolder, known: dict[str, IndexedSegment]) -> None:
        """Report what was listed, and is gone or ends earlier; what is in memory reports for itself."""
        lost: dict[ProducerKey, list[tuple[int, int]]] = {}
        for name, row in known.items():
            now = run.sealed.get(name)
            first = row.first_seq if now is None else now.last_seq + 1
            key = ProducerKey(run.run_id or run_id_of(run.path.name) or run.path.name, row.producer_id)
            if name in run.kept or first > row.last_seq or self._in_use.is_restored(key):
                continue
            if name not in self._index.segments(run.path.name):
                continue  # deleted on purpose, meanwhile
            lost.setdefault(key, []).append((first, row.last_seq))
            what = "is gone" if now is None else "is shorter than it was"
            LOG.error(
                "%s: %s %s: numbers %d to %d were durable and are lost",
                key, run.path / name, what, first, row.last_seq,
            )  # fmt: skip
        for key, ranges in lost.items():
            self._in_use.lost(key, ranges)

    def _gone(self, folder: str, notes: list[str]) -> None:
        self._in_use.check_folder()
        known = self._index.segments(folder)
        if known:
            self._report(_RunFolder(self._root / folder, known, notes, {}, empty=True), known)
        self._index.drop_run(folder)


class _RunFolder:
    """The files of a run, as they are now.

    Args:
        path: the run's folder.
        known: what the index has of it.
        notes: sentences about what was found.
        written: producers by the names of files that are being written: those are not read.
        empty: the folder is gone.

    Raises:
        OSError: the folder cannot be listed.

    Attributes:
        run_id: as headers state it, "" where none was read.
        sealed: sealed segments by name.
        changed: those that the index has not, or not so.
        unsealed: names of the segments without a footer, by producer.
        kept: names of files that are there and are not sealed.
        unreadable: why the headers of files cannot be read.
    """

    def __init__(
        self,
        path: Path,
        known: dict[str, IndexedSegment],
        notes: list[str],
        written: dict[str, ProducerKey],
        *,
        empty: bool = False,
    ) -> None:
        self.path, self.notes, self._written = path, notes, written
        self.run_id = ""
        self.sealed: dict[str, IndexedSegment] = {}
        self.changed: list[IndexedSegment] = []
        self.unsealed: dict[ProducerKey, set[str]] = {}
        self.keys: set[ProducerKey] = set()
        self.kept: set[str] = set()
        self.unreadable: dict[Path, str] = {}
        if empty:
            return
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX):
                    self._look(entry, known.get(entry.name))

    def _look(self, entry: os.DirEntry[str], row: IndexedSegment | None) -> None:
        path = self.path / entry.name
        writer = self._written.get(entry.name)
        if writer is not None:
            self._note_unsealed(writer, entry.name)
            return
        try:
            status = entry.stat()
            if row is not None and row.is_of(status):
                self.sealed[entry.name] = row
                return
            if not is_closed(path):
                self._take_unsealed(path)
                return
            with RecordReader(path) as reader:
                header, last_seq = reader.header, reader.segments[0].last_seq
        except OSError:
            return  # gone meanwhile
        except RecordError as error:
            self._take_unreadable(path, str(error))
            return
        if OWNER_ATTRIBUTE not in header.attributes:
            return
        self._note_key(ProducerKey(header.run_id, header.producer_id))
        found = IndexedSegment(
            entry.name, header.producer_id, header.segment, header.previous_last_seq + 1, last_seq, header.file_id,
            status.st_size, status.st_mtime_ns, status.st_ino,
        )  # fmt: skip
        if row is not None and found.holds_what(row):
            found = found._replace(generation=row.generation + 1)
        self.sealed[entry.name] = found
        self.changed.append(found)

    def _take_unsealed(self, path: Path) -> None:
        header = first_header(path)
        if OWNER_ATTRIBUTE in header.attributes:
            self._note_unsealed(ProducerKey(header.run_id, header.producer_id), path.name)

    def _note_unsealed(self, key: ProducerKey, name: str) -> None:
        self._note_key(key)
        self.unsealed.setdefault(key, set()).add(name)
        self.kept.add(name)

    def _take_unreadable(self, path: Path, reason: str) -> None:
        if path.exists():
            self.unreadable[path] = reason
            self.kept.add(path.name)

    def _note_key(self, key: ProducerKey) -> None:
        self.run_id = self.run_id or key.run_id
        self.keys.add(key)
