"""The segments of one producer: opened, appended to, sealed, inspected, deleted when old.

A number is durable when its file, and the folder that has its name, are synced, and the file is found under that name.
A producer whose disk fails is cut back to what is durable and takes nothing until the next claim. Files that were
removed, replaced or cut by hand are noticed at each sync and inspection: their numbers are reported as lost, and are
requested again where no later number is stored. It knows no streams and no sequence rules. Only the writer thread
changes it.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from esper_telemetry.errors import RecordError, SinkError
from esper_telemetry.recordfile.append import sync_folder
from esper_telemetry.storage.declarations import Declarations
from esper_telemetry.storage.disk import cut_file
from esper_telemetry.storage.engine import Claim, CutBack, Expire, Inspect, PutFrame, PutSchema, PutSkip, Replace, Seal
from esper_telemetry.storage.naming import run_folder, segment_names
from esper_telemetry.storage.published import Published, cut_segments
from esper_telemetry.storage.recovery import set_aside
from esper_telemetry.storage.segment_writer import SegmentWriter, own_header
from esper_telemetry.storage.sequence import SequenceNumbers
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from esper_telemetry.storage.disk import Identity
    from esper_telemetry.storage.engine import Item
    from esper_telemetry.storage.naming import ProducerKey
    from esper_telemetry.storage.recovery import StoredProducer
    from esper_telemetry.storage.segment_index import SegmentJournal

LOG = logging.getLogger("esper_telemetry.collector")

SEGMENT_BYTES = 256 << 20
# 2 MB of memory for the entries of the footer, and 0.2 s to write it, in which no other producer is served.
SEGMENT_FRAMES = 25_000
# Enough for one sync: the eight frames of 256 KiB after which an ack is due.
GATHER_BYTES = 2 << 20
# Files of other owners may have the name that a segment is to have: so many numbers are passed over.
_NUMBERS_TRIED = 100


class ProducerFiles:
    """The segments of one producer.

    Args:
        root: folder of runs.
        key: the producer.
        stored: what recovery found of it.
        rewinds: whether what is gone from the end may be asked for again: durable_seq goes back then.
        journal: told what becomes of sealed segments.

    Attributes:
        key: as given.
        numbers: its sequence numbers; `durable_seq` of them is written here, after each sync.
        published: its segments as far as they are durable; replaced, never changed.
        failed: why it takes nothing; None if it does.
        sync_seconds: duration of each fdatasync since the last report.
        expired: size of each segment deleted for its age since the last report.
        rewound: whether `durable_seq` went back since the last report.
        lost: ranges of numbers found gone since the last report.
    """

    def __init__(
        self,
        root: Path,
        key: ProducerKey,
        stored: StoredProducer | None = None,
        *,
        rewinds: bool = True,
        journal: SegmentJournal | None = None,
    ) -> None:
        segments = stored.segments if stored else []
        self.key = key
        self.numbers = SequenceNumbers(stored.durable_seq if stored else 0)
        self.published = tuple(map(Published.found, segments))
        self.failed: str | None = None
        self.sync_seconds: list[float] = []
        self.expired: list[int] = []
        self.lost: list[tuple[int, int]] = []
        self.rewound = False
        self._root = root
        self._rewinds = rewinds
        self._journal = journal
        self._folder = root / run_folder(key.run_id)
        self._segment = segments[-1].header.segment if segments else 0
        self._file_id = segments[-1].header.file_id if segments else b""
        self._schema: PutSchema | None = None
        self._declared: Declarations | None = None
        self._appender: SegmentWriter | None = None
        self._new_name = False
        self._uncut: tuple[Path, int, Identity] | None = None
        self._doubted: Path | None = None
        self._frames: list[PutFrame] = []
        self._frames_bytes = 0
        self._claims = self._claimed = 0

    # --- what the event loop asks -------------------------------------------------------------------------------------

    def claim(self) -> Claim:
        """Return the item that lets a stream begin; `writes` tells when it has been applied."""
        self._claims += 1
        return Claim(self._claims)

    def writes(self, epoch: int) -> bool:
        """Return whether items are taken; the files do not know which stream sends them."""
        del epoch
        return self.failed is None and self._claimed == self._claims

    @property
    def stored_bytes(self) -> int:
        """What its segments take on the disk."""
        open_path = self._appender.path if self._appender is not None else None
        sealed = sum(segment.size for segment in self.published if segment.path != open_path)
        return sealed + (self._appender.size if self._appender is not None else 0)

    # --- what the writer thread does ----------------------------------------------------------------------------------

    def apply(self, item: Item) -> None:
        """Apply `item` without syncing (a Seal syncs); frames are written in runs, the last one by `sync`.

        Raises:
            SinkError: the disk refused; call `fail`.
        """
        if isinstance(item, Claim):
            self._claimed = item.number
            self._begin()
        elif isinstance(item, Inspect):
            if self.is_short():
                raise _vanished(self.key)
        elif isinstance(item, Expire):
            self._expire(item.before)
        elif isinstance(item, Replace):
            self._replace(item)
        elif isinstance(item, CutBack):
            self._seal()
            self.published = cut_segments(self.published, item.last_seq)
            self.numbers.durable_seq = min(self.numbers.durable_seq, item.last_seq)
        elif self.failed is None:
            self._store(item)

    def go_on(self, durable_seq: int, segment: int, file_id: bytes) -> None:
        """Have the next segment go on behind another consumer's; nothing may be open or on its way.

        Args:
            durable_seq: last number that is durable anywhere.
            segment: number of the last segment anywhere.
            file_id: of that segment; empty where there is none.
        """
        self.numbers.restart(durable_seq)
        self._segment = max(self._segment, segment)
        self._file_id = file_id or self._file_id

    @property
    def tail(self) -> tuple[int, bytes]:
        """Number and file id of its last segment; 0 and nothing before the first."""
        return self._segment, self._file_id

    def is_short(self) -> bool:
        """Return whether something that is called durable is not where it was.

        Raises:
            SinkError: the disk does not tell.
        """
        if not any(segment.absence() for segment in self.published):
            return False
        self._check_folder()
        return True

    def write(self) -> None:
        """Write the frames that were gathered.

        Raises:
            SinkError: the disk refused; call `fail`.
        """
        self._write()

    def sync(self) -> None:
        """Write what was gathered and make it durable. Several producers may be synced at once, each in a thread.

        Raises:
            SinkError: the disk refused, or the file is not there any more; call `fail`.
        """
        self._write()
        appender = self._appender
        if self.failed is not None or appender is None or appender.synced_size == appender.size:
            return
        self._sync_name()
        appender.sync()
        self._publish(appender)

    @property
    def open_path(self) -> Path | None:
        """The segment that is being written, if there is one; from any thread."""
        appender = self._appender
        return appender.path if appender is not None else None

    @property
    def is_open(self) -> bool:
        """Whether a segment is being written."""
        return self._appender is not None

    @property
    def unsynced(self) -> bool:
        """Whether something was appended that no sync has covered."""
        return self._appender is not None and self._appender.synced_size != self._appender.size

    @property
    def holds_file(self) -> bool:
        """Whether it has a descriptor open."""
        return self._appender is not None and not self._appender.paused

    def pause(self) -> None:
        """Need no descriptor until something is stored again."""
        appender = self._appender
        if appender is not None and appender.synced_size == appender.size and not self._frames:
            appender.pause()

    def fail(self, error: Exception) -> None:
        """Cut back to what is durable and can be opened, and take nothing more."""
        if self.failed is None:
            LOG.error("%s: cannot be stored: %s", self.key, error)
        self.failed = str(error)
        self._forget_frames()
        appender, self._appender = self._appender, None
        if appender is not None:
            self._uncut = (appender.path, appender.synced_size, appender.identity)
            self._doubted = appender.path if appender.was_cut else None
            with contextlib.suppress(SinkError, OSError):
                appender.cut_back()
                self._uncut = None
        with contextlib.suppress(SinkError, OSError):  # else the next claim looks
            self._take_stock()

    def release(self) -> None:
        """Seal what is open, at the end; a disk that refuses is left to the next start."""
        try:
            self._seal()
        except SinkError as error:
            self.fail(error)

    # --- storing ------------------------------------------------------------------------------------------------------

    def _store(self, item: Item) -> None:
        if isinstance(item, PutFrame):
            self._frames.append(item)
            self._frames_bytes += len(item.payload)
            if self._run_ends():
                self._write()
        elif isinstance(item, PutSchema):
            self._declare(item)
        elif isinstance(item, Seal):
            self._seal()
        elif isinstance(item, PutSkip):
            self._write()
            self._open().append_skip(item.skip)

    def _declare(self, schema: PutSchema) -> None:
        """Let frames of another schema follow: in the same segment, unless it contradicts what that one declares."""
        self._write()  # what came before it needs the schema before it
        self._schema = schema
        if self._appender is None or self._declared is None:
            return
        header = self._declared.add(schema)
        if header is None:
            self._seal()
        elif header.types or header.file_descriptor_set:
            self._appender.append_header(header)

    def _begin(self) -> None:
        """Look for what was promised, and try a disk that failed again."""
        if self._appender is not None and self.is_short():
            self.fail(_vanished(self.key))
        if self._uncut is not None:
            cut_file(*self._uncut)
            self._uncut = None
        self.failed = None
        if self._appender is None:
            self._take_stock()

    @property
    def unsynced_names(self) -> tuple[Path, ...]:
        """The folders that have to be synced before what is in a new segment counts as durable."""
        return (self._folder, self._root) if self._new_name else ()

    def names_synced(self) -> None:
        """Record that `unsynced_names` were synced: many new segments need that once, not each for itself."""
        self._new_name = False

    def _sync_name(self) -> None:
        for folder in self.unsynced_names:
            sync_folder(folder)
        self._new_name = False

    def _publish(self, appender: SegmentWriter) -> None:
        self.numbers.durable_seq = appender.last_seq
        self._file_id = appender.file_id
        kept = [segment for segment in self.published if segment.path != appender.path]
        size, first_seq, last_seq = appender.synced_size, appender.first_seq, appender.last_seq
        segment = Published(appender.path, size, first_seq, last_seq, appender.file_id, appender.identity)
        self.published = (*kept, segment)

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
            self._tell_sealed()

    def _tell_sealed(self) -> None:
        if self._journal is not None:
            self._journal.sealed(self.key)

    def _tell_dropped(self, segments: Iterable[Published]) -> None:
        if self._journal is not None:
            self._journal.dropped(self.key, [segment.path.name for segment in segments])

    def _open(self) -> SegmentWriter:
        appender = self._appender
        if appender is not None and (appender.size >= SEGMENT_BYTES or appender.frames >= SEGMENT_FRAMES):
            self._seal()
        if self._appender is None:
            self._appender = self._create()
            self._new_name = True
        return self._appender

    def _create(self) -> SegmentWriter:
        if self._schema is None:
            raise SinkError(f"{self.key}: a frame without a schema; the session should have refused it")
        header = record_pb2.Header()
        header.CopyFrom(self._schema.header)
        header.file_descriptor_set = self._schema.descriptors
        self._check_folder()
        try:
            self._folder.mkdir(mode=0o750, exist_ok=True)
        except OSError as error:
            raise SinkError(f"{self._folder}: cannot make the run folder: {error}; check the disk") from error
        for _ in range(_NUMBERS_TRIED):
            self._segment += 1
            own = own_header(header, self._segment, self._file_id, self.numbers.durable_seq)
            for name in segment_names(own, self._segment):
                path = self._folder / name
                if not path.exists():
                    self._declared = Declarations(self._schema)
                    return SegmentWriter(path, own, self.sync_seconds.append)
        raise SinkError(f"{path}: this name and the next {_NUMBERS_TRIED} are taken; move the files away")

    # --- what became of it --------------------------------------------------------------------------------------------

    def _expire(self, before: float) -> None:
        old = [segment for segment in self.published[:-1] if self._is_outdated(segment, before)]
        self._tell_dropped(old)
        gone = []
        for segment in old:
            with contextlib.suppress(OSError):
                segment.path.unlink()
                gone.append(segment)
                self.expired.append(segment.size)
                LOG.info(
                    "%s: retention deleted %s, numbers %d to %d",
                    self.key,
                    segment.path.name,
                    segment.first_seq,
                    segment.last_seq,
                )
        self._tell_dropped(gone)
        self.published = tuple(segment for segment in self.published if segment not in gone)

    def _replace(self, item: Replace) -> None:
        """Let a compacted segment take the place of the sealed one that it was made of, if that is still here."""
        path, stamp = item.found.path, item.found.stamp
        promised = [one for one in self.published if one.path == path and tuple(one.identity) == stamp[:2]]
        is_open = self._appender is not None and self._appender.path == path
        if self.failed is not None or is_open or not promised:
            done = item.found.discard("it is not what was sealed any more")
        else:
            done = item.found.replace()
            if not done.kept:
                compacted = promised[0].looked_up()
                self.published = tuple(compacted if one.path == path else one for one in self.published)
                LOG.info("%s: %s takes %d bytes now, of %d", self.key, path.name, done.after, done.before)
        item.applied(done)

    def _is_outdated(self, segment: Published, before: float) -> bool:
        with contextlib.suppress(OSError):
            if segment.path.stat().st_mtime < before:
                return self._journal is None or self._journal.may_delete(self.key, segment.path.name)
        return False

    def _take_stock(self) -> None:
        """Look for every promised segment; no segment may be open. What is gone from the end is durable no more.

        Raises:
            SinkError: the disk does not tell.
        """
        self._check_folder()
        promised, kept = self.published, []
        for segment in promised:
            left = self._what_is_left(segment)
            if left is not None:
                kept.append(left)
            if left is None or left.last_seq < segment.last_seq:
                first = segment.first_seq if left is None else left.last_seq + 1
                self.lost.append((first, segment.last_seq))
                LOG.error("%s: numbers %d to %d were durable and are lost", self.key, first, segment.last_seq)
        self._doubted = None
        if kept != list(promised):
            self.published = tuple(kept)
            self._tell_dropped(set(promised) - set(kept))
            self._tell_sealed()
            self._go_back(promised)

    def _check_folder(self) -> None:
        if self._journal is not None:
            self._journal.check_folder()

    def _what_is_left(self, segment: Published) -> Published | None:
        missing = segment.absence()
        if not missing and segment.path != self._doubted:
            return segment
        if missing:
            LOG.error("%s: %s %s", self.key, segment.path, missing)
            if not (missing.startswith("was cut") or segment.is_copied()):
                return None
        try:
            left = segment.cut(segment.last_seq, [])
        except RecordError:  # not even its header is left
            set_aside(segment.path)
            return None
        return left if left.last_seq >= left.first_seq else None

    def _go_back(self, promised: tuple[Published, ...]) -> None:
        """Lower what is durable to what is there, unless something behind the gap is there."""
        last_kept = self.published[-1].last_seq if self.published else promised[0].first_seq - 1
        if self._rewinds and last_kept < promised[-1].last_seq:
            self.numbers.durable_seq = last_kept
            self.rewound = True
            self._file_id = self.published[-1].file_id if self.published else b""


def _vanished(key: ProducerKey) -> SinkError:
    return SinkError(f"{key}: files that were durable are not where they were; the collector's log names them")
