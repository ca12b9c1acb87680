"""What a file holds, put together from its pieces: one segment for each prologue.

Every segment has types, sequence numbers and a footer of its own; that is how `cat a b > c` stays
readable. Only header frames are decompressed here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esper_telemetry.errors import CorruptRecordError, UnsupportedRecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.damage import Damage, Truncation
from esper_telemetry.recordfile.header import ASSUMED, add_types, header_descriptor, is_further, parse_header_frame
from esper_telemetry.recordfile.index import SHARED_BIT, FrameRef, mask_of
from esper_telemetry.recordfile.piece import Kind, Piece
from esper_telemetry.recordfile.salvage import find_header, restore_header
from esper_telemetry.recordfile.walk import read_footer
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from esper_telemetry.recordfile.frame import FrameDecoder
    from esper_telemetry.recordfile.layout import Skip
    from esper_telemetry.recordfile.source import Source


@dataclass(slots=True)
class Segment:
    """One prologue, header and what follows: usually a whole file.

    Attributes:
        number: position in the file, from 0.
        offset: where its prologue starts.
        end: first byte after its last whole piece.
        header: its first header, with the attributes of later ones.
        types: full message name by type id, all declarations of the segment together.
        descriptor_sets: serialized FileDescriptorSets, in file order.
        items: data frames and damage, in file order.
        headers: where each header frame starts, with its descriptor.
        skips: ranges of sequence numbers that will never come.
        index: the index, if a footer may be trusted.
        assumed: its own header is lost, and `header` is one that was lent.
        repairs: headers that are damaged and were made again: nothing is lost, but bytes were changed.
        lacks_types: frames after damage have types that no header declares: a further header is lost.
    """

    number: int
    offset: int
    end: int
    header: record_pb2.Header = field(default_factory=record_pb2.Header)
    types: dict[int, str] = field(default_factory=dict)
    descriptor_sets: list[bytes] = field(default_factory=list)
    items: list[FrameRef | Damage] = field(default_factory=list)
    headers: list[tuple[int, layout.Descriptor]] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    index: record_pb2.Index | None = None
    next_seq: int = 1
    assumed: bool = False
    repairs: list[str] = field(default_factory=list)
    lacks_types: bool = False

    @classmethod
    def of_header(cls, header: record_pb2.Header) -> Segment:
        """Return a segment without frames that declares what `header` does: for frames that come one by one.

        Raises:
            CorruptRecordError: the header declares a type twice or without a name.
        """
        segment = cls(0, 0, 0, header)
        add_types(segment.types, header)
        segment.descriptor_sets.append(header.file_descriptor_set)
        return segment

    @property
    def frames(self) -> list[FrameRef]:
        """The data frames, in file order."""
        return [item for item in self.items if isinstance(item, FrameRef)]

    @property
    def damage(self) -> list[Damage]:
        """What cannot be read, or is out of order."""
        return [item for item in self.items if isinstance(item, Damage)]

    @property
    def described(self) -> bool:
        """Whether it is known what its frames hold, by its own header or by one that was lent."""
        return bool(self.headers) or self.assumed

    @property
    def closed(self) -> bool:
        """Whether the segment ends in a footer that may be trusted: its writer finished."""
        return self.index is not None

    @property
    def records(self) -> int:
        """Events in the segment, as its frames count them."""
        return sum(frame.records for frame in self.frames)

    @property
    def last_seq(self) -> int:
        """Last sequence number that the segment covers."""
        return self.next_seq - 1


class Assembler:
    """Puts the segments of a file together, piece by piece.

    Args:
        source: the file; headers and footers are read from it.
        decoder: decompresses header frames.
        spare: header to assume for frames whose own header, or the further one that declares their types, is lost.

    Attributes:
        segments: the segments so far.
        damage: damage before any segment, or made one unreadable.
        truncation: the cut end, if there is one.
    """

    def __init__(self, source: Source, decoder: FrameDecoder, spare: record_pb2.Header | None = None) -> None:
        self._source = source
        self._decoder = decoder
        self._spare = spare
        self._current: Segment | None = None
        self._gap: Piece | None = None
        self._repair = ""
        self._is_damaged = False
        self._lost_header: Damage | None = None
        # Further headers that come before any first one, which is lost then.
        self._early: list[tuple[Piece, layout.Descriptor, record_pb2.Header]] = []
        self.segments: list[Segment] = []
        self.damage: list[Damage] = []
        self.truncation: Truncation | None = None

    def add_all(self, pieces: Iterable[Piece]) -> None:
        """Add each of `pieces`."""
        for piece in pieces:
            self.add(piece)
        self._settle(None)

    def add(self, piece: Piece) -> Segment | None:
        """Add the piece that follows; return the segment it belongs to."""
        if piece.kind is Kind.DAMAGE:
            self._settle(None)
            self._gap = piece
            return self._current
        if piece.kind is Kind.DATA:
            self._data(piece)
        else:
            self._settle(None)
            if piece.kind is Kind.PROLOGUE:
                self._current = None
                self._open(piece)
            elif piece.kind is Kind.HEADER:
                self._header(piece)
            elif piece.kind is Kind.SKIP:
                self._skip(piece)
            elif piece.kind is Kind.SEEK_TABLE:
                self._footer(piece)
            elif piece.kind is Kind.TAIL:
                self._tail(piece)
        if self._current is not None:
            self._current.end = max(self._current.end, piece.end if piece.kind is not Kind.TAIL else piece.offset)
        return self._current

    def read_header(self, offset: int, desc: layout.Descriptor) -> record_pb2.Header:
        """Read a header frame.

        Raises:
            CorruptRecordError: it is damaged.
            UnsupportedRecordError: it is over a limit.
        """
        size = max(desc.raw_size, desc.compressed_size)
        if size > layout.MAX_HEADER_BYTES:
            raise UnsupportedRecordError(
                f"the header takes {size:,} bytes, over the format's limit of {layout.MAX_HEADER_BYTES:,}"
            )
        data = self._source.read_at(offset, desc.compressed_size)
        try:
            return parse_header_frame(self._decoder.decode(data, desc.raw_size))
        except (CorruptRecordError, UnsupportedRecordError):
            restored = restore_header(self._source, self._decoder, offset, desc)
            if restored is None:
                raise
        self._repair = f"the header at byte {offset:,} is damaged, and was made again from its parity"
        return restored.header

    def _open(self, piece: Piece) -> Segment:
        segment = Segment(len(self.segments), piece.offset, piece.end)
        self.segments.append(segment)
        self._early.clear()
        self._is_damaged, self._lost_header = False, None
        self._current = segment
        return segment

    def _header(self, piece: Piece) -> None:
        assert piece.descriptor is not None  # noqa: S101 - a HEADER piece has one
        try:
            header = self.read_header(piece.offset, piece.descriptor)
        except (CorruptRecordError, UnsupportedRecordError) as error:
            self._is_damaged = True
            self._lost_header = Damage(piece.offset, piece.end, f"a header frame is damaged: {error}")
            if self._spare is None or self._current is None or not self._current.described:
                self._note(self._lost_header)
                self._lost_header = None
            return
        self._declare(piece, piece.descriptor, header)

    def _declare(self, piece: Piece, desc: layout.Descriptor, header: record_pb2.Header) -> None:
        segment = self._current
        try:
            if segment is None or (segment.headers and header.file_id != segment.header.file_id):
                segment = self._open(piece)  # the prologue before it is damaged
            if not segment.described and is_further(header):
                self._early.append((piece, desc, header))
                return
            add_types(segment.types, header)
        except (CorruptRecordError, UnsupportedRecordError) as error:
            self._note(Damage(piece.offset, piece.end, f"a header frame is damaged: {error}"))
            return
        if segment.described:
            segment.header.types.extend(header.types)
            segment.header.attributes.update(header.attributes)
        else:
            segment.header = header
            segment.next_seq = header.previous_last_seq + 1
        if header.file_descriptor_set:
            segment.descriptor_sets.append(header.file_descriptor_set)
        segment.headers.append((piece.offset, desc))
        if self._repair:
            segment.repairs.append(self._repair)
            self._repair = ""

    def _find_header(self) -> None:
        """Look for a header of the present segment in the damage before a frame."""
        gap = self._gap
        found = None if gap is None else find_header(self._source, self._decoder, gap)
        if gap is not None and found is not None:
            offset, (frame, raw, header) = found
            self._gap = None
            self._repair = f"the descriptor of the header at byte {offset:,} is damaged, the header is whole"
            self._declare(gap, header_descriptor(frame, raw), header)

    def _data(self, piece: Piece) -> None:
        assert piece.descriptor is not None  # noqa: S101 - a DATA piece has one
        desc = piece.descriptor
        if self._gap is not None:
            self._find_header()
        if self._spare is not None and (self._current is None or not self._current.described):
            self._settle(None)
            self._assume(piece, self._spare, desc.first_seq)
        segment = self._current
        if segment is None or not segment.described:
            self._settle(None)
            reason = "a frame is here without a header that declares its types"
            self._note(Damage(piece.offset, piece.end, reason, desc.first_seq, desc.last_seq))
            return
        self._settle(desc.first_seq)
        if desc.first_seq < segment.next_seq:
            reason = f"the frame covers {desc.first_seq:,} to {desc.last_seq:,}, but {segment.next_seq:,} was to follow"
            segment.items.append(Damage(piece.offset, piece.offset, f"{reason}: repeated or reordered"))
        if self._is_damaged:
            self._lend(segment, desc.type_mask)
        segment.items.append(FrameRef(piece.offset, *desc, segment.number))
        segment.next_seq = max(segment.next_seq, desc.last_seq + 1)

    def _assume(self, piece: Piece, spare: record_pb2.Header, first_seq: int) -> None:
        """Give the frames that follow the header that was lent."""
        segment = self._current or self._open(piece)
        segment.header.CopyFrom(spare)
        segment.header.previous_last_seq = first_seq - 1
        segment.next_seq = first_seq
        segment.assumed = True
        segment.repairs.append(
            f"its header is lost; assumed is that of {spare.attributes.get(ASSUMED, 'another file')}"
        )
        segment.descriptor_sets.append(spare.file_descriptor_set)
        add_types(segment.types, spare)
        early = list(self._early)
        self._early.clear()
        for further in early:
            segment.header.file_id = further[2].file_id
            self._declare(*further)

    def _lend(self, segment: Segment, type_mask: int) -> None:
        """Give a segment the types of the header that was lent, if a frame after damage has types that it lacks."""
        lost, self._lost_header = self._lost_header, None
        if type_mask & (~mask_of(segment.types) | SHARED_BIT):  # the last bit is shared by many types
            spare = self._spare
            new = [entry for entry in spare.types if entry.type_id not in segment.types] if spare is not None else []
            segment.lacks_types |= spare is None
            if new and spare is not None:
                segment.types.update((entry.type_id, entry.full_name) for entry in new)
                segment.header.types.extend(new)
                segment.descriptor_sets.append(spare.file_descriptor_set)
                origin = spare.attributes.get(ASSUMED, "another file")
                segment.repairs.append(f"a header that declares types is lost; assumed are those of {origin}")
                lost = None
        if lost is not None:
            self._note(lost)

    def _skip(self, piece: Piece) -> None:
        if self._current is not None and piece.skip is not None:
            self._current.skips.append(piece.skip)
            self._current.next_seq = max(self._current.next_seq, piece.skip.last_seq + 1)

    def _footer(self, piece: Piece) -> None:
        try:
            footer = read_footer(self._source, piece.end)
        except (CorruptRecordError, UnsupportedRecordError) as error:
            self._note(Damage(piece.offset, piece.end, f"the footer is not trusted: {error}"))
            return
        if self._current is not None and footer.start == self._current.offset:
            self._current.index = footer.index
        else:
            self._note(Damage(piece.offset, piece.end, "the footer is not trusted: it is of another segment"))

    def _tail(self, piece: Piece) -> None:
        frames = sum(len(segment.frames) for segment in self.segments)
        events = sum(segment.records for segment in self.segments)
        self.truncation = Truncation(frames + 1, piece.offset, piece.end, events)

    def _settle(self, next_seq: int | None) -> None:
        """Report what the damage before a piece cost, now that the sequence number after it is known."""
        gap, segment = self._gap, self._current
        self._gap = None
        expected = segment.next_seq if segment is not None else 1
        lost = next_seq is not None and next_seq > expected
        first, last = (expected, (next_seq or 1) - 1) if lost else (None, None)
        if gap is None:
            if lost and segment is not None:
                at = segment.end
                segment.items.append(Damage(at, at, "frames are missing here", first, last))
            return
        desc = gap.descriptor
        if not lost and desc is not None and desc.last_seq >= expected and next_seq is None:
            first, last = max(desc.first_seq, expected), desc.last_seq
            if segment is not None:
                segment.next_seq = desc.last_seq + 1
        self._note(Damage(gap.offset, gap.end, gap.reason, first, last))

    def _note(self, damage: Damage) -> None:
        self._is_damaged = True
        if self._current is not None and self._current.described:
            self._current.items.append(damage)
        else:
            self.damage.append(damage)


def assemble(
    source: Source, decoder: FrameDecoder, pieces: Sequence[Piece], spare: record_pb2.Header | None = None
) -> Assembler:
    """Return the segments that `pieces` make; arguments as those of Assembler."""
    assembler = Assembler(source, decoder, spare)
    assembler.add_all(pieces)
    return assembler
