"""The engine of a collector that stands alone: record files below one folder, one writer thread.

It claims the folder, has its files put in order, and hands items to the store. It never decides what may
be stored.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from esper_telemetry.collector.disk import claim_folder, raise_file_limit, try_storage
from esper_telemetry.collector.engine import Health, Lane, Restored, Watermark
from esper_telemetry.collector.items import Cycle, Item, Retry
from esper_telemetry.collector.recovery import recover
from esper_telemetry.collector.store import ProducerFiles, Store
from esper_telemetry.v1 import collector_pb2

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedWriter
    from pathlib import Path

    from esper_telemetry.collector.identity import ProducerKey


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
        self._report: Callable[[Cycle], None]
        self._store = Store(self._hand_over)

    async def start(self, report: Callable[[Cycle], None]) -> list[Restored]:
        """Claim the folder, put the files in order, rebuild all watermarks, start to store."""
        self._report = report
        raise_file_limit()
        self._lock = await asyncio.to_thread(claim_folder, self._root)
        try:
            restored = await asyncio.to_thread(self._recover)
        except BaseException:
            self._lock.close()
            raise
        self._store.start()
        return restored

    @property
    def broken(self) -> str:
        """Why the writer thread has ended."""
        return self._store.broken

    async def stop(self, seal_s: float) -> None:
        """Store what is waiting, seal, let go of the folder."""
        await asyncio.to_thread(self._store.stop, seal_s)
        if self._lock is not None:
            self._lock.close()

    def lane(self, key: ProducerKey) -> ProducerFiles:
        """Return the files of a producer that has none yet."""
        return ProducerFiles(self._root, key)

    def forget(self, lane: Lane) -> None:
        """Nothing is kept beside the lane itself."""

    def claim(self, lane: Lane, epoch: int) -> None:
        """Try a disk that failed again; that streams are fenced is the intake's own knowledge."""
        del epoch
        if lane.failed is not None:
            self.put(lane, Retry())

    def put(self, lane: Lane, item: Item) -> None:
        """Hand `item` to the writer thread."""
        assert isinstance(lane, ProducerFiles)  # noqa: S101 - `lane` and `start` made it
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

    def _recover(self) -> list[Restored]:
        recovery = recover(self._root)
        self.notes = recovery.notes
        restored = []
        for key, stored in recovery.producers.items():
            files = ProducerFiles(self._root, key, stored)
            size = sum(segment.size for segment in files.published)
            restored.append(Restored(files, stored.durable_seq, stored.segments[-1].header, size))
        return restored

    def _hand_over(self, cycle: Cycle) -> None:
        if any(progress.error is not None for progress in cycle.progress):
            self._failed = True
        self._report(cycle)
