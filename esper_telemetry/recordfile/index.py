"""The footer of a file: what the writer collects for it, and when a reader may trust it.

A footer is an index frame (every data frame, events by type) and the official seek
table. It is trusted only if the sizes in it, plus itself, reach back exactly to a prologue
and index and seek table agree. Bytes in, values out: no I/O.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from google.protobuf.message import DecodeError

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.layout import Descriptor, SeekEntry
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class FrameRef(NamedTuple):
    """A data frame in a file, as its descriptor or the index describes it.

    Attributes:
        offset: where the frame starts in the file.
        compressed_size: its bytes in the file, descriptor not included.
        raw_size: its bytes decompressed.
        records: events in it.
        type_mask: bit min(type_id - 1, 31) is set for each type in it.
        first_seq: first number it covers.
        last_seq: last number it covers.
        min_time: earliest event time, nanoseconds since 1970 UTC.
        max_time: latest event time.
        segment: position of its segment in the file, from 0.
    """

    offset: int
    compressed_size: int
    raw_size: int
    records: int
    type_mask: int
    first_seq: int
    last_seq: int
    min_time: int
    max_time: int
    segment: int = 0

    @property
    def end(self) -> int:
        """First byte behind the frame and its descriptor."""
        return self.offset + self.compressed_size + layout.DESCRIPTOR_BYTES

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor that must stand behind the frame."""
        return Descriptor._make(self[1:9])


class FooterBuilder:
    """Collects what the footer of a growing file will say."""

    def __init__(self) -> None:
        self._index = record_pb2.Index()
        self._entries: list[SeekEntry] = []
        self._types: Counter[int] = Counter()

    def add_skippable(self, size: int) -> None:
        """Take note of a skippable frame of so many bytes."""
        self._entries.append(SeekEntry(size, 0, 0))

    def add_header(self, offset: int, frame: bytes, raw_size: int) -> None:
        """Take note of a header frame and its descriptor."""
        if any(entry.raw_size for entry in self._entries):
            self._index.header_offsets.append(offset)
        self._add_frame(frame, raw_size)

    def add_data(self, offset: int, frame: bytes, desc: Descriptor, type_counts: Mapping[int, int]) -> None:
        """Take note of a data frame and its descriptor."""
        self._index.frames.add(
            offset=offset,
            compressed_size=desc.compressed_size,
            raw_size=desc.raw_size,
            records=desc.records,
            first_seq=desc.first_seq,
            last_seq=desc.last_seq,
            min_time_unix_nano=desc.min_time,
            max_time_unix_nano=desc.max_time,
            type_counts=type_counts,
        )
        self._types.update(type_counts)
        self._index.records += desc.records
        self._add_frame(frame, desc.raw_size)

    def footer(self) -> bytes:
        """Return index and seek table."""
        index = record_pb2.Index()
        index.CopyFrom(self._index)
        index.type_counts.update(self._types)
        packed = layout.pack_index(index.SerializeToString(deterministic=True))
        return packed + layout.pack_seek_table([*self._entries, SeekEntry(len(packed), 0, 0)])

    def _add_frame(self, frame: bytes, raw_size: int) -> None:
        self._entries.append(SeekEntry(len(frame), raw_size, int.from_bytes(frame[-4:], "little")))
        self.add_skippable(layout.DESCRIPTOR_BYTES)


def parse_index_message(serialized: bytes) -> record_pb2.Index:
    """Parse the message of an index frame.

    Raises:
        CorruptRecordError: the bytes are no Index.
    """
    try:
        return record_pb2.Index.FromString(serialized)
    except DecodeError as error:
        raise CorruptRecordError(f"the index is no protobuf: {error}") from None


def index_refs(index: record_pb2.Index, base: int, number: int) -> list[FrameRef]:
    """Return the data frames that `index` lists.

    Args:
        index: a parsed index; its offsets count from the start of its segment.
        base: where that segment starts in the file.
        number: position of the segment in the file.
    """
    return [
        FrameRef(
            base + frame.offset,
            frame.compressed_size,
            frame.raw_size,
            frame.records,
            _mask(frame.type_counts),
            frame.first_seq,
            frame.last_seq,
            frame.min_time_unix_nano,
            frame.max_time_unix_nano,
            number,
        )
        for frame in index.frames
    ]


def check_footer(index: record_pb2.Index, entries: list[SeekEntry]) -> None:
    """Check that an index and a seek table speak of the same file.

    Args:
        index: the parsed index.
        entries: the seek table; the last entry is the index itself.

    Raises:
        CorruptRecordError: they disagree.
    """
    if not entries or entries[0] != SeekEntry(layout.PROLOGUE_BYTES, 0, 0):
        raise CorruptRecordError("the seek table does not start with a prologue")
    listed = {frame.offset: (frame.compressed_size, frame.raw_size) for frame in index.frames}
    headers = set(index.header_offsets)
    offset = 0
    first = True
    for entry in entries:
        if entry.raw_size:
            if first or offset in headers:
                headers.discard(offset)
            elif listed.pop(offset, None) != (entry.compressed_size, entry.raw_size):
                raise CorruptRecordError(f"the seek table has a frame at byte {offset:,} that the index has not so")
            first = False
        offset += entry.compressed_size
    if first or listed or headers:
        raise CorruptRecordError(f"the index lists {len(listed) + len(headers)} frames that the seek table has not")
    if index.records != sum(frame.records for frame in index.frames):
        raise CorruptRecordError(f"the index counts {index.records:,} events, its frames another number")


def mask_of(type_ids: Iterable[int]) -> int:
    """Return the type mask of the types `type_ids`."""
    mask = 0
    for type_id in type_ids:
        mask |= layout.type_bit(type_id)
    return mask


def _mask(type_counts: Mapping[int, int]) -> int:
    return mask_of(type_id for type_id in type_counts if type_id > 0)
