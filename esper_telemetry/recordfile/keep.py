"""Sorts the pieces of a damaged record into what can be kept, by context, and what cannot.

Every frame is decompressed and every event looked at: what is kept is known to be good,
or marked as unverified.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from google.protobuf import descriptor_pb2

from esper_telemetry.errors import CorruptRecordError, UnsupportedRecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.damage import Damage
from esper_telemetry.recordfile.facts import contradiction, facts_of, frame_facts
from esper_telemetry.recordfile.frame import FrameEncoder
from esper_telemetry.recordfile.frame_events import whole_events
from esper_telemetry.recordfile.header import (
    add_types,
    descriptor_files,
    header_parity,
    is_further,
    pack_header,
    parse_header_frame,
)
from esper_telemetry.recordfile.index import parse_index_message
from esper_telemetry.recordfile.parity import PARITY_TAG
from esper_telemetry.recordfile.piece import Kind
from esper_telemetry.recordfile.salvage import REBUILT, restore_header
from esper_telemetry.recordfile.source import BytesSource
from esper_telemetry.schema.descriptors import needed_files
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from esper_telemetry.recordfile.facts import FrameFacts
    from esper_telemetry.recordfile.frame import FrameDecoder
    from esper_telemetry.recordfile.layout import Descriptor, Skip
    from esper_telemetry.recordfile.piece import Piece
    from esper_telemetry.recordfile.source import Source
    from esper_telemetry.recordfile.spare import Spare

# Attribute of a header: the sequence numbers of the next frame come from a cut frame, without a checksum of the writer.
UNVERIFIED = "esper_telemetry.unverified"
_LEVEL = 3
_FAR = 1 << 65


@dataclass(frozen=True, slots=True)
class KeptFrame:
    """A data frame that is kept. Its bytes stay in the file until they are placed.

    Attributes:
        desc: its descriptor, the one it had or one made from its events.
        facts: what its events state.
        source: where its bytes are.
        offset: where they start there.
        checksum: low 32 bits of its XXH64.
        rebuilt: the descriptor was made again from the events, and covers no dropped sequence number besides them.
        mark: the header frame that marks it as unverified, with its descriptor.
    """

    desc: Descriptor
    facts: FrameFacts
    source: Source
    offset: int
    checksum: int
    rebuilt: bool = False
    mark: tuple[bytes, Descriptor] | None = None

    def covering(self, first_seq: int, last_seq: int) -> KeptFrame:
        """Return the frame with a descriptor that covers these sequence numbers; itself if it does already."""
        desc = self.desc._replace(first_seq=first_seq, last_seq=last_seq)
        return self if desc == self.desc else replace(self, desc=desc, rebuilt=True)

    def data(self) -> bytes:
        """Return the frame and its descriptor."""
        return self.source.read_at(self.offset, self.desc.compressed_size) + layout.pack_descriptor(self.desc)


@dataclass(frozen=True, slots=True)
class KeptItem:
    """Something to place in the output: a frame, a header frame, a skip marker, or another skippable frame."""

    data: bytes = b""
    parity: bytes = b""
    frame: KeptFrame | None = None
    header: Descriptor | None = None
    skip: Skip | None = None


@dataclass(slots=True)
class Context:
    """What is kept of one segment.

    Attributes:
        header: its first header.
        items: everything kept, in file order.
        damaged: ranges of the frames that could not be kept, where their descriptors survived.
        files: names of the files that its headers carry.
        known_last_seq: highest sequence number that is known to have been written.
        closed: a footer confirms its end: its writer had nothing more to write.
    """

    header: record_pb2.Header
    items: list[KeptItem] = field(default_factory=list)
    types: dict[int, str] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    damaged: list[tuple[int, int]] = field(default_factory=list)
    known_last_seq: int = 0
    closed: bool = False

    def seek_entries(self) -> set[layout.SeekEntry]:
        """Return what a seek table states of the frames that are kept."""
        entries = set()
        for item in self.items:
            if item.frame is not None:
                desc = item.frame.desc
                entries.add(layout.SeekEntry(desc.compressed_size, desc.raw_size, item.frame.checksum))
            elif item.header is not None:
                entries.add(layout.seek_entry(item.data[: item.header.compressed_size], item.header.raw_size))
        return entries

    def ordered(self) -> list[KeptItem]:
        """Return the items by sequence number; what has none stays before the frame that it preceded."""
        keyed = []
        first_seq = _FAR
        for place in range(len(self.items) - 1, -1, -1):
            item = self.items[place]
            if item.frame is not None:
                first_seq = item.frame.facts.first_seq
            elif item.skip is not None:
                first_seq = item.skip.first_seq
            keyed.append((first_seq, place))
        head = [self.items[0]]  # the first header comes first, wherever it was
        return head + [self.items[place] for _, place in sorted(keyed) if place]


class Keep:
    """Takes pieces in file order and sorts them.

    Args:
        source: the file the pieces are of.
        decoder: decompresses its frames.
        contexts: what was kept of other files; what belongs to the same segment is put together.
        find_spare: returns a header to assume for frames whose own header is lost, or None.

    Attributes:
        contexts: what is kept.
        damage: what is not.
        assumed: where headers that were assumed are from.
        lost_bytes: bytes in nothing kept.
        open_end: a cut last frame lost events; how many is unknown.
    """

    def __init__(
        self,
        source: Source,
        decoder: FrameDecoder,
        contexts: list[Context] | None = None,
        find_spare: Callable[[], Spare | None] = lambda: None,
    ) -> None:
        self._source = source
        self._find_spare = find_spare
        self._header_lost = False
        self._early: list[tuple[Piece, record_pb2.Header]] = []
        self._decoder = decoder
        self._current: Context | None = None
        self._fresh = True
        self._gap = False
        self._parity = b""
        self.contexts: list[Context] = [] if contexts is None else contexts
        self.damage: list[Damage] = []
        self.assumed: list[str] = []
        self.lost_bytes = 0
        self.open_end = False

    @property
    def found(self) -> bool:
        """Whether the file has a header that could be read."""
        return self._current is not None

    def add_all(self, pieces: Iterable[Piece], progress: Callable[[int], None] = lambda _: None) -> None:
        """Sort each of `pieces`, to the end of the file; `progress` is called with the end of each."""
        for piece in pieces:
            self._add(piece)
            progress(piece.end)
        self.open_end |= self._gap or self._header_lost

    def _add(self, piece: Piece) -> None:
        if piece.kind is Kind.PROLOGUE:
            self._fresh = True
            self._lose_early()
        elif piece.kind is Kind.HEADER:
            self._header(piece)
        elif piece.kind is Kind.DATA:
            self._data(piece)
        elif piece.kind is Kind.DAMAGE:
            self._damaged(piece)
        elif piece.kind is Kind.TAIL:
            self._tail(piece)
        elif piece.kind is Kind.INDEX:
            self._index(piece)
        elif piece.kind is Kind.SEEK_TABLE:
            self._footer(piece)
        elif self._current is not None:
            self._skippable(self._current, piece)

    def _skippable(self, context: Context, piece: Piece) -> None:
        if piece.kind is Kind.SKIP:
            context.items.append(KeptItem(skip=piece.skip))
        else:
            self._other(context, self._source.read_at(piece.offset, piece.end - piece.offset))

    def _header(self, piece: Piece) -> None:
        desc = _described(piece)
        try:
            frame, header = self._header_frame(piece, desc)
            if self._comes_early(header):
                self._early.append((piece, header))
                return
            context = self._context_of(header)
            add_types(context.types, header)
        except (CorruptRecordError, UnsupportedRecordError) as error:
            self._lose(piece, f"a header frame is damaged: {error}")
            self._header_lost = True  # events of the types it declares can no longer be named
            return
        context.files.update(descriptor_files(header.file_descriptor_set))
        known = any(item.data[: desc.compressed_size] == frame for item in context.items if item.header is not None)
        if not known:
            context.items.append(KeptItem(frame + layout.pack_descriptor(desc), header=desc))
            self._parity = header_parity(frame, header)

    def _renew_parity(self, items: list[KeptItem]) -> None:
        """Let a parity follow the header that was placed last, as it did in the file."""
        if items and items[-1].header is not None:
            items[-1] = replace(items[-1], parity=self._parity)

    def _other(self, context: Context, data: bytes) -> None:
        """Keep a stranger's frame; a parity is made again, with the header before it."""
        if data[:4] == layout.OUR_MAGIC and data[8:12] == PARITY_TAG:
            self._renew_parity(context.items)
        else:
            context.items.append(KeptItem(data))

    def _header_frame(self, piece: Piece, desc: Descriptor) -> tuple[bytes, record_pb2.Header]:
        """Return a header frame as it was written, and what it holds; a damaged one is made again from its parity."""
        frame = self._source.read_at(piece.offset, min(desc.compressed_size, layout.MAX_HEADER_BYTES))
        try:
            return frame, parse_header_frame(self._decoder.decode(frame, desc.raw_size))
        except (CorruptRecordError, UnsupportedRecordError):
            restored = restore_header(self._source, self._decoder, piece.offset, desc)
            if restored is None:
                raise
        reason = "a header was damaged here, and was made again from its parity"
        self.damage.append(Damage(piece.offset, piece.offset, reason))
        return restored.frame, restored.header

    def _comes_early(self, header: record_pb2.Header) -> bool:
        """Tell whether a header is a further one before any first one: that is lost, and may be assumed."""
        known = any(context.header.file_id == header.file_id for context in self.contexts)
        return is_further(header) and not known and (self._fresh or self._current is None)

    def _lose_early(self) -> None:
        early, self._early = self._early, []
        for piece, _ in early:
            self._lose(piece, "a header frame is here without the one that names its file")

    def _context_of(self, header: record_pb2.Header) -> Context:
        """Return the context `header` belongs to: a new one, or the present one that it adds types to."""
        for context in self.contexts:
            if context.header.file_id == header.file_id:
                self._current = context
                self._fresh = False
                return context
        if is_further(header):
            raise CorruptRecordError("it declares types for a file that is not there")
        self._current = Context(header, known_last_seq=header.previous_last_seq)
        self.contexts.append(self._current)
        self._fresh = False
        return self._current

    def _data(self, piece: Piece) -> None:
        desc = _described(piece)
        if self._current is None or self._fresh:
            self._assume(desc.first_seq)
        context = self._current
        if context is None or self._fresh:
            self._lose_early()
            self._lose(piece, "a frame is here without a header that declares its types")
            self.open_end = True
            return
        frame = self._source.read_at(piece.offset, desc.compressed_size)
        try:
            raw = self._decoder.decode(frame, desc.raw_size)
            facts = frame_facts(raw)
        except (CorruptRecordError, UnsupportedRecordError) as error:
            self._lose(piece, str(error), desc)
            return
        rebuilt = piece.reason == REBUILT
        if contradiction(desc, facts):
            rebuilt = True
            desc = facts.descriptor(desc.compressed_size, desc.raw_size)
        if self.damage and not context.types.keys() >= facts.type_counts.keys():
            self._assume_types(context)
            self._header_lost |= not context.types.keys() >= facts.type_counts.keys()  # nobody can name them
        checksum = layout.seek_entry(frame, desc.raw_size).checksum
        kept = KeptFrame(desc, facts, self._source, piece.offset, checksum, rebuilt)
        context.items.append(KeptItem(frame=kept))
        # A frame that goes on bounds what was lost before it. No writer repeats one: it may be in the place of another.
        self._gap = desc.first_seq <= context.known_last_seq
        if desc.last_seq > context.known_last_seq:
            context.known_last_seq = desc.last_seq
            context.closed = False  # a footer before it was that of a shorter copy

    def _assume(self, first_seq: int) -> None:
        """Put a header that is lent before frames whose own is lost."""
        spare = self._find_spare()
        if spare is None:
            return
        header = record_pb2.Header()
        header.CopyFrom(spare.header)
        header.previous_last_seq = first_seq - 1
        early, self._early = self._early, []
        if early:
            header.file_id = early[0][1].file_id
        self._place_header(self._context_of(header), header)
        self.assumed.append(spare.origin)
        self._header_lost = self._gap = False
        for piece, _ in early:
            self._header(piece)

    def _assume_types(self, context: Context) -> None:
        """Put a declaration that is lent where a further header is lost that declares types of the next frame."""
        spare = self._find_spare()
        new = [entry for entry in spare.header.types if entry.type_id not in context.types] if spare is not None else []
        if spare is None or not new:
            return
        there = descriptor_pb2.FileDescriptorSet.FromString(spare.header.file_descriptor_set).file
        files = needed_files({file.name: file for file in there}, [one.full_name for one in new], context.files)
        header = record_pb2.Header(format_major=layout.FORMAT_MAJOR, file_id=context.header.file_id, types=new)
        header.file_descriptor_set = files.SerializeToString(deterministic=True)
        self._place_header(context, header)
        self.assumed.append(spare.origin)
        self._header_lost = False

    def _place_header(self, context: Context, header: record_pb2.Header) -> None:
        packed = pack_header(header)
        context.items.append(KeptItem(packed.data, packed.parity, header=packed.desc))
        add_types(context.types, header)
        context.files.update(descriptor_files(header.file_descriptor_set))

    def _damaged(self, piece: Piece) -> None:
        self._lose(piece, piece.reason, piece.descriptor)
        self._gap = True

    def _index(self, piece: Piece) -> None:
        """Take the last sequence number from an index that survived, even without its seek table."""
        if self._current is not None and not self._fresh:
            try:
                self._learn(self._current, piece.offset, piece.end)
            except (CorruptRecordError, UnsupportedRecordError) as error:
                self.damage.append(Damage(piece.offset, piece.end, f"the index is damaged: {error}"))

    def _footer(self, piece: Piece) -> None:
        """Take from a footer that survived whether anything is missing before it."""
        context = self._current
        if context is None or self._fresh:
            return
        data = self._source.read_at(piece.offset, piece.end - piece.offset)
        try:
            entries = layout.parse_seek_table(data) or []
            listed = {entry for entry in entries if entry.raw_size}
            kept = context.seek_entries()
            if listed and kept >= listed:
                self._gap = False
                context.closed |= kept == listed
            size = entries[-1].compressed_size if entries else 0
            self._learn(context, piece.offset - size, piece.offset)  # damage before it may have hidden the index
        except (CorruptRecordError, UnsupportedRecordError) as error:
            self.damage.append(Damage(piece.offset, piece.end, f"the footer is damaged: {error}"))

    def _learn(self, context: Context, start: int, end: int) -> None:
        """Take the last sequence number from an index: what is missing before it is then known."""
        if start < 0 or end - start > layout.MAX_INDEX_BYTES:
            return
        serialized = layout.parse_index(self._source.read_at(start, end - start))
        if serialized is not None:
            index = parse_index_message(serialized)
            last_seq = max([context.header.previous_last_seq, *(frame.last_seq for frame in index.frames)])
            context.closed |= last_seq >= context.known_last_seq
            context.known_last_seq = max(context.known_last_seq, last_seq)
            self._gap = False

    def _tail(self, piece: Piece) -> None:
        data = self._source.read_at(piece.offset, min(piece.end - piece.offset, layout.MAX_RAW_BYTES))
        if not data.startswith(layout.ZSTD_MAGIC[:1]):
            return  # a cut footer or marker: made again
        self.open_end = True
        self._gap = False
        self.lost_bytes += piece.end - piece.offset
        raw = self._decoder.decode_start(data)
        events, used = whole_events(raw)
        context = self._current
        if not events or context is None or self._fresh:
            return
        facts = facts_of(events)
        encode = FrameEncoder(_LEVEL).encode
        frame = encode(raw[:used])
        desc = facts.descriptor(len(frame), used)
        note = record_pb2.Header(
            format_major=layout.FORMAT_MAJOR,
            file_id=context.header.file_id,
            attributes={UNVERIFIED: f"{facts.first_seq}-{facts.last_seq}"},
        )
        mark = pack_header(note)
        checksum = layout.seek_entry(frame, used).checksum
        kept = KeptFrame(desc, facts, BytesSource(frame), 0, checksum, mark=(mark.data, mark.desc))
        context.items.append(KeptItem(frame=kept))

    def _lose(self, piece: Piece, reason: str, desc: Descriptor | None = None) -> None:
        first, last = (desc.first_seq, desc.last_seq) if desc is not None and desc.records else (None, None)
        self.damage.append(Damage(piece.offset, piece.end, reason, first, last))
        self.lost_bytes += piece.end - piece.offset
        if first is not None and last is not None and self._current is not None:
            self._current.damaged.append((first, last))
            self._current.known_last_seq = max(self._current.known_last_seq, last)


def _described(piece: Piece) -> Descriptor:
    if piece.descriptor is None:
        raise CorruptRecordError("a frame piece without a descriptor")
    return piece.descriptor
