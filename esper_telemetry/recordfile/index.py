"""The footer of a file: what the writer collects for it, and when a reader may trust it.

A footer is an index frame (every data frame, events by type) and the official seek
table. It is trusted only if the sizes in it, plus itself, reach back exactly to a prologue
and index and seek table agree. A reader then needs nothing else to know every frame.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from google.protobuf.message import DecodeError

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.layout import Descriptor, SeekEntry
from esper_telemetry.recordfile.parity import MAX_PARITY_BYTES
from esper_telemetry.recordfile.piece import Kind, Piece, frame_piece, piece_at
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from esper_telemetry.recordfile.source import Source


class FrameRef(NamedTuple):
    """A data frame in a file, as its descriptor or the index describes it.

    Attributes:
        offset: where the frame starts in the file.
        compressed_size: its bytes in the file, descriptor not included.
        raw_size: its bytes decompressed.
        records: events in it.
        type_mask: bit min(type_id - 1, 31) is set for each type in it.
        first_seq: first sequence number it covers.
        last_seq: last sequence number it covers.
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
        """First byte after the frame and its descriptor."""
        return self.offset + self.compressed_size + layout.DESCRIPTOR_BYTES

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor that must follow the frame."""
        return Descriptor._make(self[1:9])


class FrameRanges(NamedTuple):
    """Where in the run the events of a frame happened, as their contexts state; what a payload has for itself aside.

    Attributes:
        batch_idx: smallest and largest Context.batch_idx; None where no event has one.
        step: the same of Context.step.
    """

    batch_idx: tuple[int, int] | None = None
    step: tuple[int, int] | None = None


# Of a frame whose contexts nothing looked at.
ANYWHERE = FrameRanges((0, (1 << 64) - 1), (0, (1 << 64) - 1))


class FooterBuilder:
    """Collects what the footer of a growing file will state."""

    def __init__(self) -> None:
        self._index = record_pb2.Index()
        self._entries: list[SeekEntry] = []
        self._types: Counter[int] = Counter()

    def add_skippable(self, size: int) -> None:
        """Record a skippable frame of so many bytes."""
        self._entries.append(SeekEntry(size, 0, 0))

    def add_header(self, offset: int, frame: bytes, raw_size: int) -> None:
        """Record a header frame and its descriptor."""
        self.add_header_entry(offset, layout.seek_entry(frame, raw_size))

    def add_header_entry(self, offset: int, entry: SeekEntry) -> None:
        """Record a header frame and its descriptor, its entry in the seek table given."""
        if any(entry.raw_size for entry in self._entries):
            self._index.header_offsets.append(offset)
        self._add_frame(entry)

    def add_data(
        self,
        offset: int,
        frame: bytes,
        desc: Descriptor,
        type_counts: Mapping[int, int],
        ranges: FrameRanges = ANYWHERE,
    ) -> None:
        """Record a data frame and its descriptor; `type_counts` is empty where its events were not looked at."""
        self.add_entry(offset, layout.seek_entry(frame, desc.raw_size), desc, type_counts, ranges)

    def add_entry(
        self,
        offset: int,
        entry: SeekEntry,
        desc: Descriptor,
        type_counts: Mapping[int, int],
        ranges: FrameRanges = ANYWHERE,
    ) -> None:
        """Record a data frame and its descriptor, its entry in the seek table given."""
        info = self._index.frames.add(
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
        if type_counts and ranges.batch_idx is not None:
            info.min_batch_idx, info.max_batch_idx = ranges.batch_idx
        if type_counts and ranges.step is not None:
            info.min_step, info.max_step = ranges.step
        self._types.update(type_counts)
        self._index.records += desc.records
        self._add_frame(entry)

    def type_counts(self, *, beyond: int = 0) -> Counter[int]:
        """Return the events by type id, of the frames that do not end within the first `beyond` bytes of the file."""
        if not beyond:
            return self._types.copy()
        counts: Counter[int] = Counter()
        for frame in self._index.frames:
            if frame.offset + frame.compressed_size + layout.DESCRIPTOR_BYTES > beyond:
                counts.update(frame.type_counts)
        return counts

    def footer(self) -> bytes:
        """Return index and seek table."""
        index = record_pb2.Index()
        index.CopyFrom(self._index)
        index.type_counts.update(self._types)
        packed = layout.pack_index(index.SerializeToString(deterministic=True))
        return packed + layout.pack_seek_table([*self._entries, SeekEntry(len(packed), 0, 0)])

    def _add_frame(self, entry: SeekEntry) -> None:
        self._entries.append(entry)
        self.add_skippable(layout.DESCRIPTOR_BYTES)


def stated_ranges(info: record_pb2.FrameInfo) -> FrameRanges:
    """Return where the events of a frame happened, as the index states it."""
    if not info.type_counts:  # placed by a builder that did not look inside
        return ANYWHERE
    return FrameRanges(
        (info.min_batch_idx, info.max_batch_idx) if info.HasField("min_batch_idx") else None,
        (info.min_step, info.max_step) if info.HasField("min_step") else None,
    )


def parse_index_message(serialized: bytes) -> record_pb2.Index:
    """Parse the message of an index frame.

    Raises:
        CorruptRecordError: the bytes are no Index.
    """
    try:
        return record_pb2.Index.FromString(serialized)
    except DecodeError as error:
        raise CorruptRecordError(f"the index is no protobuf: {error}") from None


def footer_pieces(
    source: Source, start: int, index: record_pb2.Index, entries: list[SeekEntry], end: int
) -> list[Piece]:
    """Return the pieces of a closed segment from its footer alone.

    Args:
        source: read only where a skip marker may be.
        start: where the segment starts.
        index: its parsed index; offsets in it count from `start`.
        entries: its seek table; the last entry is the index itself.
        end: first byte after the seek table.

    Raises:
        CorruptRecordError: index and seek table are of different files.
    """
    frames = {frame.offset: frame for frame in index.frames}
    headers = {*index.header_offsets, layout.PROLOGUE_BYTES}
    pieces: list[Piece] = []
    at = 0
    committed = 0  # entries are checked in pairs: every frame is followed by its descriptor
    for number, entry in enumerate(entries):
        place = at
        at += entry.compressed_size
        if entry.raw_size:
            desc = _listed(place, entry, frames, headers)
            if desc.records and not desc.type_mask:  # placed by a builder that did not look inside
                desc = _stated(source, start + at) or desc
            pieces.append(frame_piece(start + place, desc))
            committed = number + 1
        elif number == committed and number:
            if entry.compressed_size != layout.DESCRIPTOR_BYTES:
                raise CorruptRecordError(f"the seek table has no descriptor after the frame before byte {place:,}")
        else:
            pieces.append(_skippable(source, start + place, entry.compressed_size, number, len(entries)))
    if frames or headers or pieces[0].kind is not Kind.PROLOGUE:
        raise CorruptRecordError(f"the index lists {len(frames) + len(headers)} frames that the seek table has not")
    if index.records != sum(frame.records for frame in index.frames):
        raise CorruptRecordError(f"the index counts {index.records:,} events, its frames another number")
    return [*pieces, Piece(Kind.SEEK_TABLE, start + at, end)]


def _listed(place: int, entry: SeekEntry, frames: dict[int, record_pb2.FrameInfo], headers: set[int]) -> Descriptor:
    """Return the descriptor of a frame of the seek table, and take it off the lists of the index."""
    if place in headers:
        headers.discard(place)
        return Descriptor(entry.compressed_size, entry.raw_size, 0, 0, 0, 0, 0, 0)
    info = frames.pop(place, None)
    if info is None or (info.compressed_size, info.raw_size) != (entry.compressed_size, entry.raw_size):
        raise CorruptRecordError(
            f"the seek table has a frame at byte {place:,} of its segment that the index has not so"
        )
    if not 0 < info.records <= info.last_seq - info.first_seq + 1:
        raise CorruptRecordError(f"the index counts {info.records:,} events in the frame at byte {place:,}")
    return Descriptor(
        info.compressed_size,
        info.raw_size,
        info.records,
        mask_of(info.type_counts),
        info.first_seq,
        info.last_seq,
        info.min_time_unix_nano,
        info.max_time_unix_nano,
    )


def _stated(source: Source, offset: int) -> Descriptor | None:
    return layout.descriptor_at(source.read_at(offset, layout.DESCRIPTOR_BYTES))


def _skippable(source: Source, offset: int, size: int, number: int, count: int) -> Piece:
    if number == 0:
        if size != layout.PROLOGUE_BYTES:
            raise CorruptRecordError("the seek table does not start with a prologue")
        return Piece(Kind.PROLOGUE, offset, offset + size)
    if number == count - 1:
        return Piece(Kind.INDEX, offset, offset + size)
    if size <= MAX_PARITY_BYTES:  # a skip marker or a parity may be there
        piece = piece_at(source.read_at(offset, size), 0, offset)
        if piece is not None:
            return piece
    return Piece(Kind.OTHER, offset, offset + size)


# The bit of a type mask that all types from the 32nd on share.
SHARED_BIT = 1 << 31


def mask_of(type_ids: Iterable[int]) -> int:
    """Return the type mask of the types `type_ids`."""
    mask = 0
    for type_id in type_ids:
        mask |= _BITS[type_id] if type_id < len(_BITS) else _BITS[-1]
    return mask


# By type id, for a reader asks for each type of each frame; an id of 0 is illegal and shows when its frame is read.
_BITS = tuple(layout.type_bit(max(type_id, 1)) for type_id in range(33))
