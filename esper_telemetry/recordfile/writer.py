"""Writes one record file: header, frames, and the footer that closes it.

Every call to `write` ends in one unbuffered write of whole structures. If that fails,
the file is cut back to where it was, so what is on disk is a valid record at every
moment, and the same batch may be written again. It never renames, never rewrites and
never reads back. Not for use by two threads at once.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.frame import FrameEncoder
from esper_telemetry.recordfile.header import TypeTable, header_frame_bytes
from esper_telemetry.recordfile.index import FooterBuilder, mask_of
from esper_telemetry.recordfile.layout import Descriptor
from esper_telemetry.recordfile.lock import lock_exclusive
from esper_telemetry.schema.batch import MAX_BATCH_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.recordfile.header import HeaderInfo
    from esper_telemetry.schema.batch import Batch
    from esper_telemetry.schema.event_type import EventType
    from esper_telemetry.v1 import record_pb2

_sync_data = getattr(os, "fdatasync", os.fsync)  # macOS and Windows have fsync only


class RecordWriter:
    """A record file that is being written.

    Args:
        path: the file to create; it must not exist.
        header: its identity.
        types: types to declare in the first header, with their ids.
        level: zstd compression level.

    Raises:
        SinkError: the file exists already, or cannot be created or written.

    Attributes:
        path: the file.
        file_id: its 16 bytes of identity.
        bytes_written: its size so far.
        frames: data frames written.
        records: events written.
        last_seq: last number covered.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        header: HeaderInfo,
        types: Sequence[tuple[int, EventType]],
        *,
        level: int = 3,
    ) -> None:
        self.path = Path(path)
        self.file_id = header.file_id
        self.bytes_written = 0
        self.frames = 0
        self.records = 0
        self.last_seq = header.previous_last_seq
        self._encode = FrameEncoder(level).encode
        self._table = TypeTable()
        self._footer = FooterBuilder()
        self._torn = False
        self._fd: int | None = self._create()
        _open_writers.add(self)
        try:
            self._start(self._table.first_header(header, types))
        except BaseException:
            self.abandon()
            with contextlib.suppress(OSError):
                self.path.unlink()
            raise

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._fd is None

    def write(self, batch: Batch) -> None:
        """Append `batch` as one frame; an empty batch writes nothing.

        Numbers between the last batch and this one were dropped; the frame covers them.

        Raises:
            SinkError: the batch repeats numbers or is over the limit, the file is closed, or the operating
                system refused; in that case nothing of the batch is in the file.
        """
        if not batch.events:
            return
        desc, frame, counts = self._build(batch)
        declaration = self._table.further_header(self.file_id, batch.new_types) if batch.new_types else None
        pieces = [frame, layout.pack_descriptor(desc)]
        start = self.bytes_written
        declared = b""
        if declaration is not None:
            raw = header_frame_bytes(declaration)
            declared = self._encode(raw)
            pieces[:0] = [declared, layout.pack_descriptor(_header_descriptor(declared, raw))]
        self._append(b"".join(pieces))
        if declaration is not None:
            self._footer.add_header(start, declared, len(raw))
            self._table.declared(declaration)
            start += len(declared) + layout.DESCRIPTOR_BYTES
        self._footer.add_data(start, frame, desc, counts)
        self.frames += 1
        self.records += desc.records
        self.last_seq = desc.last_seq

    def sync(self) -> None:
        """Force what was written to the disk.

        Raises:
            SinkError: the operating system refused.
        """
        try:
            _sync_data(self._descriptor())
        except OSError as error:
            raise SinkError(f"{self.path}: cannot sync: {error}; check the disk") from error

    def close(self, *, sync: bool = True) -> None:
        """Write index and seek table and close the file; a second call does nothing.

        Raises:
            SinkError: the operating system refused; the file is closed all the same, without a footer, and readable.
        """
        if self._fd is None:
            return
        try:
            self._append(self._footer.footer())
            if sync:
                self.sync()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the file without writing: in a fork child, which holds a copy of the parent's descriptor."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            with contextlib.suppress(OSError):
                os.close(fd)

    def unlinked(self) -> bool:
        """Tell whether somebody removed the file from its folder while it was being written."""
        try:
            return os.fstat(self._descriptor()).st_nlink == 0
        except OSError:
            return False

    def _create(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        try:
            fd = os.open(self.path, flags, 0o644)
        except OSError as error:
            raise SinkError(f"{self.path}: cannot create the record: {error}; check folder and permissions") from error
        lock_exclusive(fd)
        return fd

    def _start(self, header: record_pb2.Header) -> None:
        prologue = layout.pack_prologue()
        raw = header_frame_bytes(header)
        frame = self._encode(raw)
        self._append(prologue + frame + layout.pack_descriptor(_header_descriptor(frame, raw)))
        self._footer.add_skippable(len(prologue))
        self._footer.add_header(len(prologue), frame, len(raw))
        self._table.declared(header)

    def _build(self, batch: Batch) -> tuple[Descriptor, bytes, Counter[int]]:
        if batch.first_seq <= self.last_seq or batch.last_seq - self.last_seq < len(batch.events):
            raise SinkError(
                f"{self.path}: the batch covers {batch.first_seq:,} to {batch.last_seq:,} with {len(batch.events):,}"
                f" events after number {self.last_seq:,}: numbers would repeat"
            )
        raw = b"".join(batch.events)
        if len(raw) > MAX_BATCH_BYTES:
            raise SinkError(f"{self.path}: the batch takes {len(raw):,} bytes, over the limit of {MAX_BATCH_BYTES:,}")
        frame = self._encode(raw)
        counts = Counter(batch.type_ids)
        desc = Descriptor(
            compressed_size=len(frame),
            raw_size=len(raw),
            records=len(batch.events),
            type_mask=mask_of(counts),
            first_seq=self.last_seq + 1,
            last_seq=batch.last_seq,
            min_time=batch.min_time,
            max_time=batch.max_time,
        )
        return desc, frame, counts

    def _append(self, data: bytes) -> None:
        fd = self._descriptor()
        try:
            if self._torn:
                self._cut_back(fd)
            view = memoryview(data)
            while view:  # a short write is legal: on a signal, or just before a full disk
                view = view[os.write(fd, view) :]
        except OSError as error:
            self._torn = True
            with contextlib.suppress(OSError):
                self._cut_back(fd)
            raise SinkError(f"{self.path}: cannot write: {error}; free space or mend the disk") from error
        self.bytes_written += len(data)

    def _cut_back(self, fd: int) -> None:
        os.ftruncate(fd, self.bytes_written)
        os.lseek(fd, self.bytes_written, os.SEEK_SET)
        self._torn = False

    def _descriptor(self) -> int:
        if self._fd is None:
            raise SinkError(f"{self.path}: the record is closed")
        return self._fd


def _header_descriptor(frame: bytes, raw: bytes) -> Descriptor:
    """Return the descriptor of a header frame: no events, no numbers, no times."""
    return Descriptor(len(frame), len(raw), 0, 0, 0, 0, 0, 0)


_open_writers: weakref.WeakSet[RecordWriter] = weakref.WeakSet()


def _abandon_inherited() -> None:
    """In a fork child: the files belong to the parent, and its locks must not outlive it here."""
    for writer in list(_open_writers):
        writer.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_inherited)
