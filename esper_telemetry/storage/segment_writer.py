"""One segment of the collector: a record file to which ready frames are appended as they are.

The header is the producer's with the collector's own file id, segment number and mark. Every append
is one write of whole structures; `cut_back` takes away what no sync has covered. It never
decodes and never compresses anything but its header. One thread at a time uses it.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.append import AppendFile
from esper_telemetry.recordfile.header import (
    pack_header,
    random_id,
    writer_name,
)
from esper_telemetry.recordfile.index import FooterBuilder
from esper_telemetry.storage.disk import Identity, absence, cut_file
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from esper_telemetry.recordfile.layout import Descriptor, Skip


# Attribute of the header that tells a collector's own files.
OWNER_ATTRIBUTE = "esper_telemetry.collector"

# A footer lists of a frame what is in its last bytes: its checksum and its descriptor. They are kept as they are
# until the segment is sealed: ready entries take 310 bytes a frame instead of 74, and thousands of producers keep a
# segment open for days.
_CHECKSUM_BYTES = 4
_END_BYTES = _CHECKSUM_BYTES + layout.DESCRIPTOR_BYTES


def own_header(producers: record_pb2.Header, segment: int, previous_file_id: bytes, last_seq: int) -> record_pb2.Header:
    """Return the header of a collector's segment.

    Args:
        producers: the header that the producer sent, with types and descriptors.
        segment: number of the segment at the collector, from 1.
        previous_file_id: the collector's segment before; empty in the first.
        last_seq: last number before this segment.
    """
    header = record_pb2.Header()
    header.CopyFrom(producers)
    header.format_major, header.format_minor = layout.FORMAT_MAJOR, layout.FORMAT_MINOR
    header.file_id = random_id()
    header.segment = segment
    header.previous_file_id = previous_file_id
    header.previous_last_seq = last_seq
    header.attributes[OWNER_ATTRIBUTE] = writer_name()
    return header


class _FurtherHeader(NamedTuple):
    """A header after the first: how many frames and skips are before it, its entry, and the size of its parity."""

    frames: int
    skips: int
    entry: layout.SeekEntry
    parity_bytes: int


class SegmentWriter:
    """A segment that is being written.

    Args:
        path: the file to create; it must not exist.
        header: as `own_header` makes it.
        on_sync: told the duration of every fdatasync, in seconds.

    Raises:
        SinkError: the file cannot be created or written; nothing of it is left.

    Attributes:
        path: the file.
        file_id: its 16 bytes of identity.
        frames: frames in it.
        last_seq: last number in it, or before it.
        first_seq: number after the last one before it.
        identity: which file it is.
        synced_size: bytes that a sync has covered.
    """

    def __init__(self, path: Path, header: record_pb2.Header, on_sync: Callable[[float], None]) -> None:
        self.path = path
        self._on_sync = on_sync
        self.file_id = header.file_id
        self.frames = self.synced_size = 0
        self.last_seq = header.previous_last_seq
        self.first_seq = header.previous_last_seq + 1
        self._ends = bytearray()
        self._skips = array("Q")
        self._headers: list[_FurtherHeader] = []
        self._file = AppendFile(path)
        self.identity = Identity(*self._file.identity)
        try:
            self._start(header)
        except BaseException:
            self._file.discard()
            raise

    @property
    def size(self) -> int:
        """Bytes appended so far."""
        return self._file.size

    def append(self, frames: Sequence[tuple[bytes | memoryview, Descriptor]]) -> None:
        """Append frames as they are, in one write: each with its descriptor, and that descriptor parsed.

        Raises:
            SinkError: the operating system refused; call `cut_back`.
        """
        self._file.append(*(payload for payload, _ in frames))
        for payload, _ in frames:
            self._ends += payload[-_END_BYTES:]
        self.frames += len(frames)
        self.last_seq = frames[-1][1].last_seq

    def append_skip(self, skip: Skip) -> None:
        """Append the marker of numbers that will never come.

        Raises:
            SinkError: the operating system refused; call `cut_back`.
        """
        self._file.append(layout.pack_skip(skip))
        self._skips.append(self.frames)
        self.last_seq = skip.last_seq

    def append_header(self, header: record_pb2.Header) -> None:
        """Append a further header: the types and descriptors of `header`.

        Raises:
            SinkError: the operating system refused; call `cut_back`.
        """
        header.format_major, header.format_minor = layout.FORMAT_MAJOR, layout.FORMAT_MINOR
        header.file_id = self.file_id
        packed = pack_header(header)
        self._file.append(packed.data + packed.parity)
        entry = layout.seek_entry(packed.frame, packed.desc.raw_size)
        self._headers.append(_FurtherHeader(self.frames, len(self._skips), entry, len(packed.parity)))

    def sync(self) -> None:
        """Force what was appended to the disk, and see that it is there under the file's name.

        Raises:
            SinkError: the operating system refused; call `cut_back`, because a second sync may succeed without writing.
                Or the file was removed, replaced or cut.
        """
        started = time.perf_counter()
        self._file.sync()
        self._on_sync(time.perf_counter() - started)
        missing = absence(self.path, self.identity, self._file.size)
        if missing:
            raise SinkError(f"{self.path}: {missing} while it was being written")
        self.synced_size = self._file.size

    @property
    def was_cut(self) -> bool:
        """Whether its file is shorter than what was appended: by its size, what came later may hide what is missing."""
        if self._file.paused or self._file.closed:  # nothing was appended since it was looked up
            return False
        return self._file.size_there() < self._file.size

    @property
    def paused(self) -> bool:
        """Whether it needs no descriptor now."""
        return self._file.paused

    def pause(self) -> None:
        """Need no descriptor until the next append; everything must be synced."""
        self._file.pause()

    def seal(self) -> None:
        """Sync, write index and seek table, sync again, close.

        A footer states that everything before it is durable, and a restart relies on it. Written together with frames,
        a power loss might keep the footer's page and lose theirs.

        Raises:
            SinkError: the operating system refused; call `cut_back`.
        """
        self.sync()
        self._file.append(self._footer())
        self.sync()
        self._file.close()

    def cut_back(self) -> None:
        """Cut what no sync has covered and close the file, which has no footer then; another file there is left alone.

        Raises:
            SinkError: the operating system refused; the file is closed all the same.
        """
        self._file.close()
        cut_file(self.path, self.synced_size, self.identity)

    def _start(self, header: record_pb2.Header) -> None:
        prologue = layout.pack_prologue()
        packed = pack_header(header)
        self._file.append(prologue + packed.data + packed.parity)
        self._header_entry = layout.seek_entry(packed.frame, packed.desc.raw_size)
        self._parity_bytes = len(packed.parity)

    def _footer(self) -> bytes:
        builder = FooterBuilder()
        builder.add_skippable(layout.PROLOGUE_BYTES)
        builder.add_header_entry(layout.PROLOGUE_BYTES, self._header_entry)
        offset = layout.PROLOGUE_BYTES + self._header_entry.compressed_size + layout.DESCRIPTOR_BYTES
        if self._parity_bytes:
            builder.add_skippable(self._parity_bytes)
            offset += self._parity_bytes
        skips, headers, placed = Counter(self._skips), list(reversed(self._headers)), 0
        for number in range(self.frames + 1):
            offset = _list_headers(builder, offset, headers, (number, placed))
            for _ in range(skips[number]):
                builder.add_skippable(layout.SKIP_BYTES)
                offset += layout.SKIP_BYTES
                placed += 1
                offset = _list_headers(builder, offset, headers, (number, placed))
            if number < self.frames:
                end = self._ends[number * _END_BYTES : (number + 1) * _END_BYTES]
                offset = _list_frame(builder, offset, bytes(end))
        return builder.footer()


def _list_headers(builder: FooterBuilder, offset: int, headers: list[_FurtherHeader], behind: tuple[int, int]) -> int:
    """Take the headers behind so many frames and skips from the end of a list; return the offset after them."""
    while headers and (headers[-1].frames, headers[-1].skips) == behind:
        header = headers.pop()
        builder.add_header_entry(offset, header.entry)
        offset += header.entry.compressed_size + layout.DESCRIPTOR_BYTES + header.parity_bytes
        if header.parity_bytes:
            builder.add_skippable(header.parity_bytes)
    return offset


def _list_frame(builder: FooterBuilder, offset: int, end: bytes) -> int:
    desc = layout.parse_descriptor(end[_CHECKSUM_BYTES:])
    assert desc is not None  # noqa: S101 - it was whole when the frame was taken
    entry = layout.SeekEntry(desc.compressed_size, desc.raw_size, int.from_bytes(end[:_CHECKSUM_BYTES], "little"))
    # Counts by type would need decoding: the index of a collector's segment has none.
    builder.add_entry(offset, entry, desc, {})
    return offset + desc.compressed_size + layout.DESCRIPTOR_BYTES
