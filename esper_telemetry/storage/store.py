"""The writer thread: frames become durable in record segments, one fdatasync a file for all that came meanwhile.

`put` hands over and returns; the thread appends in the order of the puts, syncs every file it
touched, and reports. The thread knows no streams and no sequence rules: what is put is stored. Of the segments that are
written, the files of the last 2,048 are open: descriptors go to connections.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile.append import sync_folder
from esper_telemetry.storage.engine import Claim, Cycle, Inspect, ProducerProgress, PutFrame, Seal, weight
from esper_telemetry.storage.producer_files import GATHER_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from esper_telemetry.storage.engine import Item
    from esper_telemetry.storage.producer_files import ProducerFiles

LOG = logging.getLogger("esper_telemetry.collector")

# What comes within this time is synced together, and no stream notices: acks go out every 50 ms. Syncing as soon as a
# frame was there took a sync, two wake-ups of threads and 0.2 ms of processor for each frame of 256 KiB.
GATHER_S = 0.01
# One after the other, 3,000 producers with a frame each took 15 s on a busy disk (5 ms a file): the journal of a file
# system commits together what is synced at the same time.
_SYNC_TOGETHER = 4
_SYNC_THREADS = 16
# A disk that many write to may take seconds for a sync. A stream that begins waits no longer for the syncs of others.
_SLOW_S = 0.1
# Segments whose files are open at once; the others are opened again by their next frame, which takes 20 us.
MOST_OPEN_FILES = 2048


class Store:
    """The writer thread and what is on its way to it.

    Args:
        report: called in the writer thread after each cycle; it must not block.

    Attributes:
        broken: why the writer thread has ended without a stop; empty if it works.
    """

    def __init__(self, report: Callable[[Cycle], None]) -> None:
        self._report = report
        self._waiting: deque[tuple[ProducerFiles, Item]] = deque()
        self._waiting_bytes = 0
        self._looked_for: list[ProducerFiles] = []
        self._claimed: list[ProducerFiles] = []
        self._urgent = False
        self._wake = threading.Condition()
        self._stopping = False
        self._open: set[ProducerFiles] = set()
        self._awake: dict[ProducerFiles, None] = {}
        self._pool: ThreadPoolExecutor | None = None
        self.broken = ""
        self._thread = threading.Thread(target=self._run_supervised, name="collector-store", daemon=True)

    def start(self) -> None:
        """Start the writer thread."""
        self._thread.start()

    def put(self, producer: ProducerFiles, item: Item) -> None:
        """Hand `item` over; a cycle reports on it."""
        with self._wake:
            self._waiting.append((producer, item))
            if isinstance(item, PutFrame):
                self._waiting_bytes += len(item.payload)
            else:
                self._urgent |= isinstance(item, Seal | Claim)
            if len(self._waiting) == 1 or self._gathered():
                self._wake.notify()

    def look(self, producers: Iterable[ProducerFiles]) -> None:
        """Look for the files of producers; a cycle reports on those alone whose files are not all there."""
        with self._wake:
            self._looked_for.extend(producers)
            self._wake.notify()

    def stop(self, seal_s: float) -> None:
        """Store what is waiting, seal open segments for at most `seal_s` seconds, end the thread.

        What is not sealed in time is whole and durable, and is sealed by the next start.
        """
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()
        deadline = time.monotonic() + seal_s
        for producer in self._open:
            if time.monotonic() < deadline:
                producer.release()
        if self._pool is not None:
            self._pool.shutdown()

    def _run_supervised(self) -> None:
        try:
            self._run()
        except BaseException as error:  # whatever it was, nothing becomes durable from here on
            LOG.critical("the writer thread has ended", exc_info=error)
            self.broken = f"the writer thread has ended: {error!r}"

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting or self._looked_for or self._stopping)
                self._wake.wait_for(self._gathered, GATHER_S)
                items, looked_for = list(self._waiting), self._looked_for
                self._waiting.clear()
                self._looked_for = []
                self._waiting_bytes, self._urgent = 0, False
                stopping = self._stopping
            items += [(producer, Inspect()) for producer in looked_for if _is_suspect(producer)]
            if items:
                self._report(self._cycle(items))
            elif stopping:
                return
            del items, looked_for  # frames that are stored need not wait for the next ones

    def _gathered(self) -> bool:
        return self._waiting_bytes >= GATHER_BYTES or self._urgent or self._stopping

    def _cycle(self, items: list[tuple[ProducerFiles, Item]]) -> Cycle:
        touched: dict[ProducerFiles, _Work] = {}
        for producer, item in items:
            work = touched.setdefault(producer, _Work())
            work.items.append(item)
            work.payload += len(item.payload) if isinstance(item, PutFrame) else 0
            work.weight += weight(item)
        for producer, work in touched.items():
            if not any(isinstance(item, Seal) for item in work.items):
                work.apply(producer)
        self._sync(touched)
        cycle = Cycle([], [], [])
        for producer, work in touched.items():
            cycle.progress.append(_progress(producer, work))
            cycle.sync_seconds.extend(producer.sync_seconds)
            cycle.expired.extend(producer.expired)
            producer.sync_seconds.clear()
            producer.expired.clear()
        self._bound_files((*touched, *self._claimed))
        self._claimed.clear()
        return cycle

    def _sync(self, touched: dict[ProducerFiles, _Work]) -> None:
        """Sync what was written, and seal; several files at once, because a disk makes them durable together."""
        wanting = [(producer, work) for producer, work in touched.items() if work.items or producer.unsynced]
        if len(wanting) < _SYNC_TOGETHER:
            for producer, work in wanting:
                work.finish(producer)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_SYNC_THREADS, "collector-sync")
        new = [producer for producer, _ in wanting if producer.unsynced_names]
        with contextlib.suppress(SinkError):  # what the disk refuses, every producer is told by its own sync
            folders = {folder for producer in new for folder in producer.unsynced_names}
            self._run_together([partial(sync_folder, folder) for folder in folders], touched)
            for producer in new:
                producer.names_synced()
        self._run_together([partial(work.finish, producer) for producer, work in wanting], touched)

    def _run_together(self, calls: list[Callable[[], None]], touched: dict[ProducerFiles, _Work]) -> None:
        """Make calls in threads and return when all have returned; who says Hello meanwhile does not wait for them."""
        assert self._pool is not None  # noqa: S101 - `_sync` made it
        futures = [self._pool.submit(call) for call in calls]
        while wait(futures, timeout=_SLOW_S).not_done:
            self._claim_meanwhile(touched)
        for future in futures:
            future.result()

    def _claim_meanwhile(self, touched: dict[ProducerFiles, _Work]) -> None:
        """Let streams begin whose producers have nothing to do with a cycle that takes long."""
        claims: dict[ProducerFiles, _Work] = {}
        with self._wake:
            later: deque[tuple[ProducerFiles, Item]] = deque()
            busy = set(touched)
            for producer, item in self._waiting:
                if isinstance(item, Claim) and producer not in busy:
                    claims.setdefault(producer, _Work()).items.append(item)
                else:
                    later.append((producer, item))
                    busy.add(producer)  # its items stay in their order
            self._waiting = later
        for producer, work in claims.items():
            work.apply(producer)
        if claims:
            self._claimed.extend(claims)
            self._report(Cycle([_progress(producer, work) for producer, work in claims.items()], [], []))

    def _bound_files(self, touched: Iterable[ProducerFiles]) -> None:
        """Pause the segments that were not written for the longest time, beyond so many that are open."""
        for producer in touched:
            self._awake.pop(producer, None)
            if producer.holds_file:  # one that was only looked at is still paused
                self._awake[producer] = None
            if producer.is_open:
                self._open.add(producer)
            else:
                self._open.discard(producer)
        while len(self._awake) > MOST_OPEN_FILES:
            producer = next(iter(self._awake))
            del self._awake[producer]
            producer.pause()


@dataclass(slots=True)
class _Work:
    """What a cycle has to do for one producer.

    Attributes:
        items: in order.
        payload, weight: what they take, bytes.
    """

    items: list[Item] = field(default_factory=list)
    payload: int = 0
    weight: int = 0

    def apply(self, producer: ProducerFiles) -> None:
        """Apply the items, and write what they bring."""
        items, self.items = self.items, []
        for item in items:
            with _guarded(producer):
                producer.apply(item)
        with _guarded(producer):
            producer.write()

    def finish(self, producer: ProducerFiles) -> None:
        """Apply what is left, and make it durable."""
        if self.items:
            self.apply(producer)
        with _guarded(producer):
            producer.sync()


def _progress(producer: ProducerFiles, work: _Work) -> ProducerProgress:
    lost, producer.lost = tuple(producer.lost), []
    rewound, producer.rewound = producer.rewound, False
    return ProducerProgress(
        producer.key,
        producer.numbers.durable_seq,
        work.payload,
        weight=work.weight,
        stored_bytes=producer.stored_bytes,
        error=producer.failed,
        lost=lost,
        rewound=rewound,
        expired_bytes=sum(producer.expired),
    )


def _is_suspect(producer: ProducerFiles) -> bool:
    """Return whether an inspection would find something, or does not get to know."""
    try:
        return producer.is_short()
    except SinkError:
        return True


@contextlib.contextmanager
def _guarded(producer: ProducerFiles) -> Iterator[None]:
    """Let an error in the files of one producer fail that producer alone."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the one writer thread must outlive whatever one producer sent
        producer.fail(error)
