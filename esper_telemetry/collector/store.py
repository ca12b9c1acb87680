"""Frames become record segments: one writer thread, one fdatasync a file for all that came meanwhile.

`put` hands over and returns; the thread appends in the order of the puts, syncs every file it
touched, and reports. A number is durable when its file, and the folder its name stands in, are
synced. A producer whose disk fails is cut back to what is durable and takes nothing until it is
told to `Retry`. The thread knows no streams and no sequence rules: what is put is stored.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from esper_telemetry.collector.appender import SegmentAppender, cut_file, own_header, sync_folder
from esper_telemetry.collector.handover import Published, cut_segments
from esper_telemetry.collector.identity import run_folder, segment_names
from esper_telemetry.collector.items import (
    CutBack,
    Cycle,
    Expire,
    Progress,
    PutFrame,
    PutSchema,
    Retry,
    Seal,
)
from esper_telemetry.errors import SinkError
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from esper_telemetry.collector.identity import ProducerKey
    from esper_telemetry.collector.items import Item
    from esper_telemetry.collector.recovery import StoredProducer

LOG = logging.getLogger("esper_telemetry.collector")

SEGMENT_BYTES = 256 << 20
# 2 MB of memory for what the footer will say, and 0.2 s to say it, in which nobody else is served.
SEGMENT_FRAMES = 25_000
# What comes within this time is synced together, and no stream notices: acks go out every 50 ms. Syncing as soon as a
# frame was there took a sync, two wake-ups of threads and 0.2 ms of processor for each frame of 256 KiB.
GATHER_S = 0.01
# Enough for one sync: the eight frames of 256 KiB after which an ack is due.
GATHER_BYTES = 2 << 20
# Files that stand where a segment is to be, somebody else's perhaps: so many numbers are passed over.
_NUMBERS_TRIED = 100


class ProducerFiles:
    """The segments of one producer; only the writer thread changes it.

    Args:
        root: folder of runs.
        key: the producer.
        stored: what recovery found of it.

    Attributes:
        key: as given.
        durable_seq: everything up to it is durable.
        published: its segments as far as they are durable; replaced, never changed.
        failed: why it takes nothing; None if it does.
        sync_seconds: duration of each fdatasync since somebody emptied it.
    """

    def __init__(self, root: Path, key: ProducerKey, stored: StoredProducer | None = None) -> None:
        segments = stored.segments if stored else []
        self.key = key
        self.durable_seq = stored.durable_seq if stored else 0
        self.published = tuple(Published(each.path, each.path.stat().st_size, each.last_seq) for each in segments)
        self.failed: str | None = None
        self.sync_seconds: list[float] = []
        self._root = root
        self._folder = root / run_folder(key.run_id)
        self._segment = segments[-1].header.segment if segments else 0
        self._file_id = segments[-1].header.file_id if segments else b""
        self._schema: PutSchema | None = None
        self._appender: SegmentAppender | None = None
        self._new_name = False
        self._uncut: tuple[Path, int] | None = None
        self._frames: list[PutFrame] = []
        self._frames_bytes = 0

    def writes(self, epoch: int) -> bool:
        """Tell whether items are taken: which stream they may come from is not the files' matter."""
        del epoch
        return self.failed is None

    def apply(self, item: Item) -> None:
        """Do what `item` says, without syncing (a Seal syncs); frames are written in runs, the last one by `sync`.

        Raises:
            SinkError: the disk refused; call `fail`.
        """
        if isinstance(item, Retry):
            self._retry()
        elif isinstance(item, Expire):
            self._expire(item.before)
        elif isinstance(item, CutBack):
            self._seal()
            self.published = cut_segments(self.published, item.last_seq)
            self.durable_seq = min(self.durable_seq, item.last_seq)
        elif self.failed is not None:
            return
        elif isinstance(item, PutFrame):
            self._frames.append(item)
            self._frames_bytes += len(item.payload)
            if self._run_ends():
                self._write()
        elif isinstance(item, PutSchema):
            self._seal()
            self._schema = item
        elif isinstance(item, Seal):
            self._seal()
        else:
            self._write()
            self._open().append_skip(item.skip)

    def go_on(self, durable_seq: int, segment: int, file_id: bytes) -> None:
        """Have the next segment go on behind another recorder's; nothing may be open or on its way.

        Args:
            durable_seq: last number that is durable anywhere.
            segment: number of the last segment anywhere.
            file_id: of that segment; empty where there is none.
        """
        self.durable_seq = durable_seq
        self._segment = max(self._segment, segment)
        self._file_id = file_id or self._file_id

    @property
    def tail(self) -> tuple[int, bytes]:
        """Number and file id of its last segment; 0 and nothing before the first."""
        return self._segment, self._file_id

    def sync(self) -> None:
        """Make durable what was appended.

        Raises:
            SinkError: the disk refused; call `fail`.
        """
        self._write()
        appender = self._appender
        if self.failed is not None or appender is None or appender.synced_size == appender.size:
            return
        self._sync_name()
        appender.sync()
        self._publish(appender)

    @property
    def is_open(self) -> bool:
        """Whether a segment is being written."""
        return self._appender is not None

    def fail(self, error: Exception) -> None:
        """Cut back to what is durable and take nothing more."""
        self.failed = str(error)
        self._forget_frames()
        appender, self._appender = self._appender, None
        if appender is not None:
            self._uncut = (appender.path, appender.synced_size)
            with contextlib.suppress(SinkError):
                appender.cut_back()
                self._uncut = None

    def release(self) -> None:
        """Seal what is open, at the end; a disk that refuses is left to the next start."""
        try:
            self._seal()
        except SinkError as error:
            self.fail(error)

    def _retry(self) -> None:
        if self._uncut is not None:
            cut_file(*self._uncut)
            self._uncut = None
        self.failed = None

    def _expire(self, before: float) -> None:
        old = []
        for segment in self.published[:-1]:
            with contextlib.suppress(OSError):
                if segment.path.stat().st_mtime < before:
                    segment.path.unlink()
                    old.append(segment)
        self.published = tuple(segment for segment in self.published if segment not in old)

    def _sync_name(self) -> None:
        if self._new_name:
            sync_folder(self._folder)
            sync_folder(self._root)
            self._new_name = False

    def _publish(self, appender: SegmentAppender) -> None:
        self.durable_seq = appender.synced_seq
        self._file_id = appender.file_id
        kept = [segment for segment in self.published if segment.path != appender.path]
        self.published = (*kept, Published(appender.path, appender.synced_size, appender.synced_seq))

    def _run_ends(self) -> bool:
        there = self._appender.frames if self._appender is not None else 0
        return self._frames_bytes >= GATHER_BYTES or there + len(self._frames) >= SEGMENT_FRAMES

    def _write(self) -> None:
        frames = self._frames
        if frames:
            self._forget_frames()
            self._open().append(frames)

    def _forget_frames(self) -> None:
        self._frames, self._frames_bytes = [], 0

    def _seal(self) -> None:
        self._write()
        appender = self._appender
        if appender is not None:
            self._sync_name()
            appender.seal()
            self._publish(appender)
            self._appender = None

    def _open(self) -> SegmentAppender:
        appender = self._appender
        if appender is not None and (appender.size >= SEGMENT_BYTES or appender.frames >= SEGMENT_FRAMES):
            self._seal()
        if self._appender is None:
            self._appender = self._create()
            self._new_name = True
        return self._appender

    def _create(self) -> SegmentAppender:
        if self._schema is None:
            raise SinkError(f"{self.key}: a frame without a schema; the session should have refused it")
        header = record_pb2.Header()
        header.CopyFrom(self._schema.header)
        header.file_descriptor_set = self._schema.descriptors
        try:
            self._folder.mkdir(mode=0o750, exist_ok=True)
        except OSError as error:
            raise SinkError(f"{self._folder}: cannot make the run folder: {error}; check the disk") from error
        for _ in range(_NUMBERS_TRIED):
            self._segment += 1
            own = own_header(header, self._segment, self._file_id, self.durable_seq)
            for name in segment_names(own, self._segment):
                path = self._folder / name
                if not path.exists():
                    return SegmentAppender(path, own, self.sync_seconds.append)
        raise SinkError(f"{path}: this name and the next {_NUMBERS_TRIED} are taken; move the files away")


class Store:
    """The writer thread and what is on its way to it.

    Args:
        report: called in the writer thread after each cycle; it must not block.

    Attributes:
        broken: why the writer thread has ended though nobody told it to; empty if it works.
    """

    def __init__(self, report: Callable[[Cycle], None]) -> None:
        self._report = report
        self._waiting: deque[tuple[ProducerFiles, Item]] = deque()
        self._waiting_bytes = 0
        self._urgent = False
        self._wake = threading.Condition()
        self._stopping = False
        self._open: set[ProducerFiles] = set()
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
                self._urgent |= isinstance(item, Seal | Retry)
            if len(self._waiting) == 1 or self._gathered():
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

    def _run_supervised(self) -> None:
        try:
            self._run()
        except BaseException as error:  # whatever it was, nothing becomes durable from here on
            LOG.critical("the writer thread has ended", exc_info=error)
            self.broken = f"the writer thread has ended: {error!r}"

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting or self._stopping)
                self._wake.wait_for(self._gathered, GATHER_S)
                items = list(self._waiting)
                self._waiting.clear()
                self._waiting_bytes, self._urgent = 0, False
            if not items:
                return
            self._report(self._cycle(items))
            del items  # frames that are stored need not wait for the next ones

    def _gathered(self) -> bool:
        return self._waiting_bytes >= GATHER_BYTES or self._urgent or self._stopping

    def _cycle(self, items: list[tuple[ProducerFiles, Item]]) -> Cycle:
        touched: dict[ProducerFiles, int] = {}
        for producer, item in items:
            size = len(item.payload) if isinstance(item, PutFrame) else 0
            touched[producer] = touched.get(producer, 0) + size
            with _guarded(producer):
                producer.apply(item)
        seconds: list[float] = []
        for producer in touched:
            with _guarded(producer):
                producer.sync()
            seconds += producer.sync_seconds
            producer.sync_seconds.clear()
        self._open.update(touched)
        self._open = {producer for producer in self._open if producer.is_open}
        progress = [Progress(each.key, each.durable_seq, size, each.failed) for each, size in touched.items()]
        return Cycle(progress, seconds)


@contextlib.contextmanager
def _guarded(producer: ProducerFiles) -> Iterator[None]:
    """Let what one producer's disk or bytes do to its files fail that producer and nobody else."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the one writer thread must outlive whatever one producer sent
        producer.fail(error)
