"""The engine of a collector on one machine: record files below one folder, one writer thread.

It claims the folder, recovers its files, and hands items to the store. A producer without a stream is on the disk only,
and is restored from there when a stream begins. The engine never decides what may be stored.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from esper_telemetry.storage import archive
from esper_telemetry.storage.disk import claim_folder, raise_file_limit, try_storage
from esper_telemetry.storage.engine import Expire, Health, ProducerLane, RestoredProducer, Watermark
from esper_telemetry.storage.naming import run_folder
from esper_telemetry.storage.producer_files import ProducerFiles
from esper_telemetry.storage.recovery import recover, recover_producer
from esper_telemetry.storage.store import Store
from esper_telemetry.v1 import collector_pb2

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedWriter
    from pathlib import Path

    from esper_telemetry.storage.archive import Expired, Weighed
    from esper_telemetry.storage.engine import Cycle, Item
    from esper_telemetry.storage.naming import ProducerKey

LOG = logging.getLogger("esper_telemetry.collector")


class FileEngine:
    """Keeps frames in record files.

    Args:
        root: folder of runs.

    Attributes:
        durability, elsewhere, notes: as in Engine.
    """

    durability = collector_pb2.DURABILITY_FILE
    elsewhere = ""

    def __init__(self, root: Path) -> None:
        self.notes: list[str] = []
        self._root = root
        self._failed = False
        self._lock: BufferedWriter | None = None
        # Held while files of a producer are looked up or deleted: no restored producer may miss a file a moment later.
        self._listing = threading.Lock()
        # Those that are in use: an entry vanishes with the last reference.
        self._restored: WeakValueDictionary[ProducerKey, ProducerFiles] = WeakValueDictionary()
        self._report: Callable[[Cycle], None]
        self._store = Store(self._hand_over)

    async def start(self, report: Callable[[Cycle], None]) -> None:
        """Claim the folder, put the files in order, start to store."""
        self._report = report
        raise_file_limit()
        self._lock = await asyncio.to_thread(claim_folder, self._root)
        try:
            problems = await asyncio.to_thread(archive.sweep, self._root)
            self.notes = problems + (await asyncio.to_thread(recover, self._root)).notes
        except BaseException:
            self._lock.close()
            raise
        self._store.start()

    @property
    def broken(self) -> str:
        """Why the writer thread has ended."""
        return self._store.broken

    async def stop(self, seal_s: float) -> None:
        """Store what is waiting, seal, unlock the folder."""
        await asyncio.to_thread(self._store.stop, seal_s)
        if self._lock is not None:
            self._lock.close()

    async def restore(self, key: ProducerKey) -> RestoredProducer:
        """Return the files of a producer, read from the disk."""
        return await asyncio.to_thread(self._restore, key)

    async def runs(self) -> list[str]:
        """Return the runs that have a folder."""
        return await asyncio.to_thread(archive.run_ids, self._root)

    async def members(self, run_id: str) -> list[ProducerKey]:
        """Return the producers that have a file in a run's folder."""
        return await asyncio.to_thread(archive.producers_of, self._root, run_id)

    async def weigh(self) -> list[Weighed]:
        """Return what every run takes on the disk."""
        return await asyncio.to_thread(archive.weigh, self._root)

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
        size, grave = await asyncio.to_thread(self._locked, archive.bury_run, self._root, run_id, why)
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

    async def lookup(self, key: ProducerKey) -> Watermark | None:
        """Return None: what this process knows is all there is."""
        del key
        return None

    async def examine(self, min_free: float) -> Health:
        """Look at the disk; after an error, write to it."""
        free, problem = await asyncio.to_thread(try_storage, self._root, self._failed)
        if not problem:
            self._failed = False
            if free < min_free:
                problem = f"only {free:.1%} of the disk is free, {min_free:.1%} must be"
        return Health(free, problem)

    def _restore(self, key: ProducerKey) -> RestoredProducer:
        with self._listing:
            files, header = self._restored.get(key), None
            if files is None:  # else its files are in use and must not be recovered
                notes: list[str] = []
                stored = recover_producer(self._root / run_folder(key.run_id), key, notes)
                for note in notes:
                    LOG.warning("%s", note)
                files = self._restored[key] = ProducerFiles(self._root, key, stored)
                header = stored.segments[-1].header if stored is not None else None
            elif files.published:
                header = archive.header_of(files.published[-1].path)
            size = archive.run_bytes(self._root, key.run_id)
        return RestoredProducer(files, header, files.stored_bytes, size)

    def _expire(self, before: Callable[[str], float]) -> tuple[list[Expired], list[ProducerFiles]]:
        """Return what was deleted, and the producers whose own files have to do it."""
        restored = list(self._restored.values())
        return archive.expire(self._root, before, frozenset(files.key for files in restored)), restored

    def _locked(self, action: Callable[..., Any], *arguments: object) -> Any:
        with self._listing:
            return action(*arguments)

    def _hand_over(self, cycle: Cycle) -> None:
        if any(progress.error is not None for progress in cycle.progress):
            self._failed = True
        self._report(cycle)
