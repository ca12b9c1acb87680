"""The engine of a collector on one machine: record files below one folder, one writer thread.

It claims the folder, compares it with its index, and hands items to the store. What the index does not have as it is on
the disk is read at the start, for a second at most, and beside the streams. A producer without a stream is on the disk
only, and is restored from there, its files in order, when a stream begins. The engine never decides what may be stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from esper_telemetry.daemon.failures import TaskFailures
from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile.append import sync_folder
from esper_telemetry.storage import archive
from esper_telemetry.storage.compactor import CompactionProgress, SegmentCompactor
from esper_telemetry.storage.disk import check_claim, claim_folder, raise_file_limit, try_storage
from esper_telemetry.storage.engine import (
    Cycle,
    Expire,
    Health,
    ProducerLane,
    ProducerProgress,
    Replace,
    RestoredProducer,
    Watermark,
)
from esper_telemetry.storage.folder_check import FolderCheck
from esper_telemetry.storage.naming import run_folder
from esper_telemetry.storage.object_archive import ObjectArchive
from esper_telemetry.storage.producer_files import ProducerFiles
from esper_telemetry.storage.recovery import recover_producer
from esper_telemetry.storage.segment_index import SegmentIndex
from esper_telemetry.storage.store import Store
from esper_telemetry.v1 import collector_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from io import BufferedWriter
    from pathlib import Path

    from esper_telemetry.recordfile.compaction import Compaction, Rewritten
    from esper_telemetry.storage.archive import Expired, Weighed
    from esper_telemetry.storage.engine import Item
    from esper_telemetry.storage.naming import ProducerKey
    from esper_telemetry.storage.object_archive import ArchiveProgress
    from esper_telemetry.storage.recovery import StoredProducer

LOG = logging.getLogger("esper_telemetry.collector")

# What the index does not have is read for so long before the first stream is served, and so long at the end.
_READ_S = 1.0
_LIST_S = 0.5


class FileEngine:
    """Keeps frames in record files.

    Args:
        root: folder of runs.
        on_progress: called with the number of runs that are still to be read; from any thread.
        archive_url: where sealed segments are sent to, such as "s3://bucket/runs"; empty for nowhere.
        on_archived: called with what was sent; from any thread.
        on_compacted: called with what became of a sealed segment; from any thread.
        compacts: rewrite sealed segments into full frames, in a process of their own.
        failures: where errors of its threads are recorded.

    Attributes:
        durability, elsewhere, notes: as in Engine.
        listing: held while files of a producer are looked up or changed: no restored producer may miss a file a moment
            later.
    """

    durability = collector_pb2.DURABILITY_FILE
    elsewhere = ""

    def __init__(
        self,
        root: Path,
        on_progress: Callable[[int], object] = int,
        archive_url: str = "",
        on_archived: Callable[[ArchiveProgress], object] = tuple,
        on_compacted: Callable[[CompactionProgress], object] = tuple,
        *,
        compacts: bool = False,
        failures: TaskFailures | None = None,
    ) -> None:
        self.notes: list[str] = []
        self.listing = threading.Lock()
        self._root = root
        self._on_progress = on_progress
        self._failures = failures or TaskFailures(LOG)
        self._failed = False
        self._lock: BufferedWriter | None = None
        self._index: SegmentIndex | None = None
        self._check: FolderCheck | None = None
        self._archive_url = archive_url
        self._on_archived = on_archived
        self._on_compacted = on_compacted
        self._archive: ObjectArchive | None = None
        # Those that are in use: an entry vanishes with the last reference.
        self._restored: WeakValueDictionary[ProducerKey, ProducerFiles] = WeakValueDictionary()
        self._report: Callable[[Cycle], None]
        self._store = Store(self._hand_over)
        self._compactor = SegmentCompactor(self, self._next_to_compact) if compacts else None
        self._compacts_now = False  # the start itself has the processor for itself

    async def start(self, report: Callable[[Cycle], None]) -> None:
        """Claim the folder, put the files in order, start to store."""
        self._report = report
        raise_file_limit()
        self._lock = await asyncio.to_thread(claim_folder, self._root)
        try:
            self.notes = await asyncio.to_thread(archive.sweep, self._root)
            self._index = await asyncio.to_thread(SegmentIndex, self._root)
            if self._archive_url:
                self._archive = ObjectArchive(
                    self._root, self._index, self._archive_url, self._on_archived, self._failures
                )
            self._check = FolderCheck(self._root, self._index, self, self._on_progress, self._failures)
            self.notes += await asyncio.to_thread(self._check.begin, _READ_S)
        except BaseException:
            if self._index is not None:
                self._index.close()
            self._lock.close()
            raise
        self._store.start()
        self._check.start()
        if self._archive is not None:
            self._archive.start()
        self._compacts_now = True
        if self._compactor is not None and self._next_to_compact() is not None:
            self._compactor.wake()

    @property
    def broken(self) -> str:
        """Why the writer thread has ended."""
        return self._store.broken

    async def stop(self, seal_s: float) -> None:
        """Store what is waiting, seal, unlock the folder."""
        if self._compactor is not None:
            await asyncio.to_thread(self._compactor.stop)
        await asyncio.to_thread(self._store.stop, seal_s)
        if self._check is not None and self._index is not None:
            await asyncio.to_thread(self._check.close, _LIST_S)
            if self._archive is not None:
                await asyncio.to_thread(self._archive.close, _LIST_S)
            self._index.close()
        if self._lock is not None:
            self._lock.close()

    async def restore(self, key: ProducerKey, *, weigh: bool = False) -> RestoredProducer:
        """Return the files of a producer, read from the disk."""
        return await asyncio.to_thread(self._restore, key, weigh=weigh)

    async def runs(self) -> list[str]:
        """Return the runs that have a folder."""
        return await asyncio.to_thread(self._present, archive.run_ids, self._root)

    async def members(self, run_id: str) -> list[ProducerKey]:
        """Return the producers that have a file in a run's folder."""
        return await asyncio.to_thread(self._present, archive.producers_of, self._root, run_id)

    async def weigh(self) -> list[Weighed]:
        """Return what every run takes on the disk; a run is spared that is not archived whole."""
        return await asyncio.to_thread(self._weigh)

    async def expire(self, before: Callable[[str], float]) -> list[Expired]:
        """Delete old segments: of producers that are not in memory while none can be restored, of others by an Expire.

        A producer that is looked up just now is in memory too, though no stream of it is open.
        """
        expired: list[Expired]
        expired, restored = await asyncio.to_thread(self._locked, self._expire, before)
        for files in restored:
            if len(files.published) > 1:
                self._store.put(files, Expire(before(files.key.run_id)))
        return expired

    async def delete(self, run_id: str, why: str) -> int:
        """Take a run's folder away, then remove what was in it, while others may be restored."""
        size, grave = await asyncio.to_thread(self._locked, self._bury, run_id, why)
        await asyncio.to_thread(archive.remove, grave)
        return int(size)

    def forget(self, lane: ProducerLane) -> None:
        """Nothing is kept beside the lane itself."""

    def claim(self, lane: ProducerLane, epoch: int) -> None:
        """Have the disk tried and the files looked for; that streams are fenced is the intake's own knowledge."""
        del epoch
        assert isinstance(lane, ProducerFiles)  # noqa: S101 - `restore` made it
        self.put(lane, lane.claim())

    def put(self, lane: ProducerLane, item: Item) -> None:
        """Hand `item` to the writer thread."""
        assert isinstance(lane, ProducerFiles)  # noqa: S101 - `restore` made it
        self._store.put(lane, item)

    def inspect(self, lanes: Iterable[ProducerLane]) -> None:
        """Have the writer thread look for the files."""
        self._store.look(lane for lane in lanes if isinstance(lane, ProducerFiles))

    async def lookup(self, key: ProducerKey) -> Watermark | None:
        """Return None: what this process knows is all there is."""
        del key
        return None

    async def examine(self, min_free: float) -> Health:
        """Look at the disk; after an error, write to it."""
        try:
            free, problem = await asyncio.to_thread(self._present, try_storage, self._root, self._failed)
        except SinkError as error:
            return Health(0.0, str(error))
        if not problem:
            self._failed = False
            if free < min_free:
                problem = f"only {free:.1%} of the disk is free, {min_free:.1%} must be"
        return Health(free, problem)

    # --- what the check of the folder asks, and what writers tell the index -------------------------------------------

    def check_folder(self) -> None:
        """Check that the folder is there that was claimed.

        Raises:
            SinkError: it is not: no file that is missing was deleted.
        """
        if self._lock is not None and not self._lock.closed:
            check_claim(self._root, self._lock)

    def is_restored(self, key: ProducerKey) -> bool:
        """Return whether a producer is in memory."""
        return key in self._restored

    def being_written(self, folder: str) -> dict[str, ProducerKey]:
        """Return the names of files in a run's folder that are being written."""
        paths = ((files.open_path, key) for key, files in list(self._restored.items()))
        return {path.name: key for path, key in paths if path is not None and path.parent.name == folder}

    def lost(self, key: ProducerKey, ranges: list[tuple[int, int]]) -> None:
        """Report numbers that were found to be gone, of a producer that is not in memory."""
        self._report(Cycle([ProducerProgress(key, 0, 0, lost=tuple(ranges))], [], []))

    def sealed(self, key: ProducerKey) -> None:
        """Have the run listed again, and what was sealed last compacted."""
        if self._check is not None:
            self._check.touch(run_folder(key.run_id))
        files = self._restored.get(key)
        if files is not None and files.published:
            self.await_compaction(key, [files.published[-1].path.name])

    def dropped(self, key: ProducerKey, names: list[str]) -> None:
        """Have files forgotten that are deleted on purpose or were reported."""
        if self._index is not None:
            self._index.drop(run_folder(key.run_id), names)

    def await_compaction(self, key: ProducerKey, names: list[str]) -> None:
        """Have sealed segments compacted, by the next collector on this folder if this one ends before."""
        if self._compactor is not None and self._index is not None:
            self._index.await_compaction(key, run_folder(key.run_id), names)
            if self._compacts_now:
                self._compactor.wake()

    def may_delete(self, key: ProducerKey, name: str) -> bool:
        """Return whether an archive has a segment, if there is to be one."""
        return self._archive is None or self._index is None or self._index.is_archived(run_folder(key.run_id), name)

    # --- what the compactor asks --------------------------------------------------------------------------------------

    def replace(self, key: ProducerKey, found: Rewritten) -> None:
        """Have the writer thread replace the file of a producer in memory; of another one, while none is restored."""
        self._waits_no_more(key, found.path)
        with self.listing:
            files = self._restored.get(key)
            done = found.replace() if files is None else None
        if files is not None:
            self._store.put(files, Replace(found, partial(self._replaced, key)))
        elif done is not None:
            self._replaced(key, done)

    def tried(self, key: ProducerKey, path: Path, *, failed: bool) -> None:
        """Have the run listed again, whose folder has another time now."""
        self._waits_no_more(key, path)
        if self._check is not None:
            self._check.touch(run_folder(key.run_id))
        if failed:
            self._on_compacted(CompactionProgress(failed=1))

    def _replaced(self, key: ProducerKey, done: Compaction) -> None:
        if self._check is not None:
            self._check.touch(run_folder(key.run_id))
        if not done.kept:
            self._on_compacted(CompactionProgress(segments=1, saved_bytes=done.saved))

    def _next_to_compact(self) -> tuple[ProducerKey, Path] | None:
        return self._index.next_to_compact() if self._index is not None else None

    def _waits_no_more(self, key: ProducerKey, path: Path) -> None:
        if self._index is not None:
            self._index.tried_to_compact(run_folder(key.run_id), path.name)

    # --- in threads ---------------------------------------------------------------------------------------------------

    def _restore(self, key: ProducerKey, *, weigh: bool) -> RestoredProducer:
        with self.listing:
            files, header = self._restored.get(key), None
            self.check_folder()
            if files is None:  # else its files are in use and must not be recovered
                stored = self._recover(key)
                files = self._restored[key] = ProducerFiles(self._root, key, stored, journal=self)
                header = stored.segments[-1].header if stored is not None else None
            elif files.published:
                header = archive.header_of(files.published[-1].path)
            size = archive.run_bytes(self._root, key.run_id) if weigh else 0
        return RestoredProducer(files, header, files.stored_bytes, size)

    def _weigh(self) -> list[Weighed]:
        self.check_folder()
        weighed = archive.weigh(self._root)
        return (
            weighed if self._archive is None else [run._replace(spared=not self._is_archived(run)) for run in weighed]
        )

    def _is_archived(self, run: Weighed) -> bool:
        folder = self._root / run_folder(run.run_id)
        assert self._index is not None  # noqa: S101 - there is an archive
        with contextlib.suppress(OSError):
            is_listed = self._index.settled_at(folder.name) == folder.stat().st_mtime_ns
            return is_listed and not self._index.count_not_archived(folder.name)
        return False

    def _recover(self, key: ProducerKey) -> StoredProducer | None:
        """Bring the files of a producer into order; what is told of them afterwards has to be durable."""
        folder = self._root / run_folder(key.run_id)
        notes: list[str] = []
        stored = recover_producer(folder, key, notes)
        for note in notes:
            LOG.warning("%s", note)
        settled_ns = self._index.settled_at(folder.name) if self._index is not None else 0
        if stored is not None and settled_ns != folder.stat().st_mtime_ns:
            sync_folder(folder)
            sync_folder(self._root)
            self.sealed(key)
            self.await_compaction(key, [stored.segments[-1].path.name])  # this may have sealed it
        return stored

    def _bury(self, run_id: str, why: str) -> tuple[int, Path]:
        if self._index is not None:
            self._index.drop_run(run_folder(run_id))
        buried = archive.bury_run(self._root, run_id, why)
        if self._index is not None:
            self._index.drop_run(run_folder(run_id))
        return buried

    def _expire(self, before: Callable[[str], float]) -> tuple[list[Expired], list[ProducerFiles]]:
        """Return what was deleted, and the producers whose own files have to do it."""
        restored = list(self._restored.values())
        return archive.expire(self._root, before, frozenset(files.key for files in restored), self), restored

    def _present(self, action: Callable[..., Any], *arguments: object) -> Any:
        self.check_folder()
        return action(*arguments)

    def _locked(self, action: Callable[..., Any], *arguments: object) -> Any:
        with self.listing:
            return action(*arguments)

    def _hand_over(self, cycle: Cycle) -> None:
        if any(progress.error is not None for progress in cycle.progress):
            self._failed = True
        self._report(cycle)
