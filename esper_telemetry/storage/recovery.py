"""Recovery at the start: torn tails are cut, segments sealed, watermarks rebuilt from the collector's own files.

All of a folder is brought into order at once (`recover`, for a consumer), or one producer (`recover_producer`, when a
stream of it begins or `folder_check` comes by). Only files with the collector's mark in their header are changed, and
only those without a footer. An unsealed segment is read frame by frame, every checksum verified: a power loss may have
kept a later page and lost an earlier one. It is cut behind the last frame of the unbroken sequence, synced and
sealed. Whole frames behind damage, which a disk error made, are copied aside first. Nothing is deleted.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esper_telemetry.errors import CorruptRecordError, RecordError, SinkError
from esper_telemetry.recordfile import SUFFIX, RecordReader
from esper_telemetry.recordfile.append import sync_folder
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.header import parse_header_frame
from esper_telemetry.recordfile.index import FooterBuilder
from esper_telemetry.recordfile.layout import ID_BYTES
from esper_telemetry.recordfile.lock import writer_gone
from esper_telemetry.recordfile.piece import Kind, Piece
from esper_telemetry.recordfile.source import FileSource
from esper_telemetry.recordfile.walk import walk
from esper_telemetry.storage.disk import cut_file, sync_data
from esper_telemetry.storage.naming import ProducerKey, may_be_of
from esper_telemetry.storage.segment_writer import OWNER_ATTRIBUTE
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from esper_telemetry.recordfile.source import Source

_NO_LIMIT = 1 << 64


@dataclass(slots=True)
class StoredSegment:
    """A segment on disk.

    Attributes:
        path: the file.
        header: its header, without descriptors.
        last_seq: last number in it, or before it.
        sealed: whether it has a footer.
    """

    path: Path
    header: record_pb2.Header
    last_seq: int
    sealed: bool


@dataclass(slots=True)
class StoredProducer:
    """A producer as its files describe it.

    Attributes:
        key: its run and id.
        segments: its segments, in order.
    """

    key: ProducerKey
    segments: list[StoredSegment] = field(default_factory=list)

    @property
    def durable_seq(self) -> int:
        """Everything up to this number is on disk."""
        return self.segments[-1].last_seq if self.segments else 0


@dataclass(slots=True)
class RecoveredFolder:
    """What was found and done.

    Attributes:
        producers: every producer with a file of this collector.
        notes: one sentence for each file that was cut, set aside or passed over.
    """

    producers: dict[ProducerKey, StoredProducer] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def recover(root: Path) -> RecoveredFolder:
    """Bring the collector's files below `root` into order and return what they hold.

    Raises:
        SinkError: a file or folder cannot be cut or synced; nothing may be acked then.
    """
    recovery = RecoveredFolder()
    for path in sorted(root.glob("*/*" + SUFFIX)):
        segment = _read(path, recovery.notes)
        if segment is not None:
            key = ProducerKey(segment.header.run_id, segment.header.producer_id)
            recovery.producers.setdefault(key, StoredProducer(key)).segments.append(segment)
    for producer in list(recovery.producers.values()):
        producer.segments.sort(key=lambda segment: (segment.header.segment, segment.path.name))
        _seal_all(producer, recovery.notes)
        if not producer.segments:
            del recovery.producers[producer.key]
    for folder in sorted({path.parent for path in root.glob("*/*" + SUFFIX)}):
        sync_folder(folder)
    sync_folder(root)
    return recovery


def recover_producer(
    folder: Path, key: ProducerKey, notes: list[str], also: Collection[str] = ()
) -> StoredProducer | None:
    """Return what a run folder holds of one producer, brought into order; None where that is nothing.

    What was sealed just now has a name that is not synced yet, perhaps: `sync_folder` before anything is acked.

    Args:
        folder: the run's folder.
        key: the producer.
        notes: gets a sentence for each file that was cut, set aside or passed over.
        also: names of files that are its own though they are named otherwise.

    Raises:
        SinkError: a file cannot be cut or synced; nothing may be acked then.
    """
    found = StoredProducer(key)
    for path in _candidates(folder, key.producer_id, also):
        segment = _read(path, notes)
        if segment is not None and (segment.header.run_id, segment.header.producer_id) == key:
            found.segments.append(segment)
    found.segments.sort(key=lambda segment: (segment.header.segment, segment.path.name))
    _seal_all(found, notes)
    return found if found.segments else None


def _candidates(folder: Path, producer_id: bytes, also: Collection[str]) -> list[Path]:
    """Return the files that may be a producer's, by name; of thousands of names most are left without being parsed."""
    parts = tuple(producer_id[at : at + 4].hex() for at in range(0, ID_BYTES, 4))
    # Asked without a descriptor: a process that is short of them still knows that a producer was never here.
    if not folder.is_dir():
        return []
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names are wanted, of thousands of segments
    except (FileNotFoundError, NotADirectoryError):
        return []
    likely = [name for name in names if name in also or any(part in name for part in parts)]
    paths = (folder / name for name in sorted(likely) if name.endswith(SUFFIX))
    return [path for path in paths if path.name in also or may_be_of(path, producer_id)]


def _read(path: Path, notes: list[str]) -> StoredSegment | None:
    try:
        with RecordReader(path) as reader:
            found = reader.segments[0]
            header = without_descriptors(found.header)
            if OWNER_ATTRIBUTE not in header.attributes:
                return None
            return StoredSegment(path, header, found.last_seq, reader.closed)
    except RecordError as error:
        if not writer_gone(path):
            return None
        aside = set_aside(path)
        notes.append(
            f"{path}: not even its header is whole, and nothing of it can be read; renamed to {aside.name}: {error}"
        )
        return None


def set_aside(path: Path) -> Path:
    """Rename a file that no reader can open, and return its new path.

    Raises:
        SinkError: the operating system refused.
    """
    aside = path.with_name(path.name + ".torn")
    try:
        path.rename(aside)
    except OSError as error:
        raise SinkError(f"{path}: cannot be renamed: {error}; check the folder's permissions") from error
    return aside


def without_descriptors(header: record_pb2.Header) -> record_pb2.Header:
    """Return a copy of `header` without its descriptors.

    Parsed anew, because a message keeps the memory of a field that was cleared: 30 KB a producer.
    """
    small = record_pb2.Header()
    small.CopyFrom(header)
    small.ClearField("file_descriptor_set")
    return record_pb2.Header.FromString(small.SerializeToString())


def _seal_all(producer: StoredProducer, notes: list[str]) -> None:
    """Seal the segments of a producer, from the last to the first: none may reach into the one after it."""
    limit = _NO_LIMIT
    for segment in reversed(producer.segments):
        if not segment.sealed:
            try:
                segment.last_seq = seal_segment(segment.path, limit, notes)
            except CorruptRecordError as error:
                notes.append(f"{error}; renamed to {set_aside(segment.path).name}: recover reads what is whole in it")
                continue
            segment.sealed = True
        limit = segment.header.previous_last_seq
    producer.segments = [segment for segment in producer.segments if segment.sealed]


def seal_segment(path: Path, limit: int, notes: list[str]) -> int:
    """Cut `path` behind the last verified frame up to number `limit`, sync and seal it; return its last number.

    Raises:
        SinkError: the operating system refused.
        CorruptRecordError: not even its header is whole; nothing is changed.
    """
    source = FileSource(path)
    try:
        row = _Row(source, limit)
        pieces = walk(source)
        first_bad = next((piece for piece in pieces if not row.take(piece)), None)
        whole_behind = first_bad is not None and not row.at_limit and any(p.kind is Kind.DATA for p in pieces)
        size = source.size
    finally:
        source.close()
    if not row.started:
        raise CorruptRecordError("its header is not whole", path=str(path), offset=row.end)
    if whole_behind:
        aside = path.with_name(path.name + ".damaged")
        shutil.copyfile(path, aside)
        notes.append(f"{path}: damaged at byte {row.end:,}, with whole frames behind it; kept as {aside.name}")
    if row.end < size:
        notes.append(f"{path}: cut from {size:,} to {row.end:,} bytes; its last number is {row.last_seq:,}")
    cut_file(path, row.end)
    _append_footer(path, row.footer.footer())
    return row.last_seq


class _Row:
    """The unbroken row of pieces from the start of a segment."""

    def __init__(self, source: Source, limit: int) -> None:
        self._source = source
        self._limit = limit
        self._decoder = FrameDecoder()
        self.started = False
        self._file_id = b""
        self.footer = FooterBuilder()
        self.end = 0
        self.last_seq = 0
        self.at_limit = False

    def take(self, piece: Piece) -> bool:
        """Add `piece` to the row; False if it is not the next whole one."""
        try:
            taken = self._take(piece)
        except RecordError:
            return False
        if taken:
            self.end = piece.end
        return taken

    def _take(self, piece: Piece) -> bool:
        if piece.kind in {Kind.PROLOGUE, Kind.PARITY}:
            self.footer.add_skippable(piece.end - piece.offset)
            return piece.kind is Kind.PARITY or piece.offset == 0
        if piece.kind is Kind.HEADER and piece.descriptor is not None:
            return self._take_header(piece)
        if piece.kind is Kind.DATA and piece.descriptor is not None:
            desc = piece.descriptor
            if not self._follows(desc.first_seq, desc.last_seq):
                return False
            frame = self._source.read_at(piece.offset, desc.compressed_size)
            self._decoder.decode(frame, desc.raw_size)
            self.footer.add_data(piece.offset, frame, desc, {})
            self.last_seq = desc.last_seq
            return True
        if (
            piece.kind is Kind.SKIP
            and piece.skip is not None
            and self._follows(piece.skip.first_seq, piece.skip.last_seq)
        ):
            self.footer.add_skippable(piece.end - piece.offset)
            self.last_seq = piece.skip.last_seq
            return True
        return False

    def _take_header(self, piece: Piece) -> bool:
        if piece.descriptor is None:
            return False
        frame = self._source.read_at(piece.offset, piece.descriptor.compressed_size)
        header = parse_header_frame(self._decoder.decode(frame, piece.descriptor.raw_size))
        if self.started and header.file_id != self._file_id:
            return False
        self.footer.add_header(piece.offset, frame, piece.descriptor.raw_size)
        if self.started:
            return True
        self._file_id = header.file_id
        self.last_seq = header.previous_last_seq
        self.started = True
        return True

    def _follows(self, first_seq: int, last_seq: int) -> bool:
        if last_seq > self._limit:
            self.at_limit = True
            return False
        return self.started and first_seq == self.last_seq + 1


def _append_footer(path: Path, footer: bytes) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            view = memoryview(footer)
            while view:
                view = view[os.write(fd, view) :]
            sync_data(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise SinkError(f"{path}: cannot be sealed: {error}; free space or repair the disk") from error
