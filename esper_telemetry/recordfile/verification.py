"""Checks everything a record file states: every frame, every event, every count, every descriptor.

Problems are what a good writer would not have left; notes are what its owner should
know (no footer, ranges marked as lost, unverified events). It changes nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from esper_telemetry.errors import CorruptRecordError, RecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.damage import Damage
from esper_telemetry.recordfile.facts import contradiction, frame_facts
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.frame_events import frame_content
from esper_telemetry.recordfile.index import FrameRanges, stated_ranges
from esper_telemetry.recordfile.keep import UNVERIFIED
from esper_telemetry.recordfile.layout import SeekEntry
from esper_telemetry.recordfile.parity import PARITY_TAG, pack_parity, parse_parity
from esper_telemetry.recordfile.piece import Kind
from esper_telemetry.recordfile.reader import check_prologue
from esper_telemetry.recordfile.segment import Assembler
from esper_telemetry.recordfile.source import open_source
from esper_telemetry.recordfile.walk import walk
from esper_telemetry.schema.descriptors import SchemaPool

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from google.protobuf.message import Message

    from esper_telemetry.recordfile.block_columns import BlockColumns
    from esper_telemetry.recordfile.frame_events import FrameContent
    from esper_telemetry.recordfile.index import FrameRef
    from esper_telemetry.recordfile.piece import Piece
    from esper_telemetry.recordfile.segment import Segment
    from esper_telemetry.recordfile.source import Source


@dataclass(slots=True)
class Verification:
    """What a check of a whole file found.

    Attributes:
        path: the file.
        size: its bytes.
        segments: contexts in it.
        frames: data frames that are good.
        records: events in them.
        raw_bytes: bytes of them before compression.
        unknown_types: events whose type no header declares, or whose payload its descriptors do not fit.
        closed: every segment ends in a footer that may be trusted.
        problems: what is wrong, in file order.
        notes: what the owner should know.
    """

    path: str
    size: int = 0
    segments: int = 0
    frames: int = 0
    records: int = 0
    raw_bytes: int = 0
    unknown_types: int = 0
    closed: bool = False
    problems: list[Damage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing is wrong: exit code 0, else 4."""
        return not self.problems


def verify(
    source: str | os.PathLike[str] | bytes | Source, *, progress: Callable[[int, int], None] | None = None
) -> Verification:
    """Check a whole record file.

    Args:
        source: the file.
        progress: called with bytes done and bytes there are.

    Returns:
        Everything that is wrong with it; a damaged file raises nothing.

    Raises:
        NotARecordError: it is something else.
        UnsupportedRecordError: a newer format.
        CorruptRecordError: it ends inside its prologue.
        RecordError: it cannot be opened.
    """
    opened = open_source(source)
    try:
        damaged = check_prologue(opened)
        result = _Verifier(opened, progress).run()
        if damaged:
            result.problems.insert(0, Damage(0, 0, damaged))
        return result
    finally:
        opened.close()


class _Verifier:
    def __init__(self, source: Source, progress: Callable[[int, int], None] | None) -> None:
        self._source = source
        self._progress = progress or (lambda _done, _total: None)
        self._decoder = FrameDecoder()
        self._result = Verification(source.name, source.size)
        self._classes: dict[int, type[Message]] = {}
        self._ranges: dict[int, FrameRanges] = {}

    def run(self) -> Verification:
        result = self._result
        found = Assembler(self._source, self._decoder)
        found.add_all(self._listed(walk(self._source)))
        result.problems += found.damage
        for segment in found.segments:
            self._segment(segment)
        if found.truncation is not None:
            cut = found.truncation
            result.problems.append(Damage(cut.start, cut.start, str(cut)))
        result.closed = all(segment.closed for segment in found.segments) and found.truncation is None
        if not result.closed and found.truncation is None:
            result.notes.append("the last segment has no footer: its writer was killed, or is still writing")
        result.problems.sort(key=lambda problem: problem.offset)
        self._progress(result.size, result.size)
        return result

    def _listed(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Pass on `pieces`, and compare every seek table with what is before it."""
        entries: list[SeekEntry] = []
        before: Piece | None = None
        for piece in pieces:
            if piece.kind is Kind.PROLOGUE:
                entries = []
            if before is not None and before.kind is Kind.INDEX and piece.kind not in {Kind.SEEK_TABLE, Kind.TAIL}:
                self._problem(piece.offset, "no seek table follows the index")
            if piece.kind in {Kind.PARITY, Kind.OTHER}:
                self._parity(piece, before)
            if piece.kind is Kind.SEEK_TABLE:
                stated = layout.parse_seek_table(self._source.read_at(piece.offset, piece.end - piece.offset))
                if stated != entries:
                    self._problem(piece.offset, "the seek table does not list the frames before it as they are")
            elif piece.descriptor is not None and piece.kind is not Kind.DAMAGE:
                frame = self._source.read_at(piece.offset, piece.descriptor.compressed_size)
                entries.append(layout.seek_entry(frame, piece.descriptor.raw_size))
                entries.append(SeekEntry(layout.DESCRIPTOR_BYTES, 0, 0))
            else:
                entries.append(SeekEntry(piece.end - piece.offset, 0, 0))
            before = piece
            yield piece

    def _parity(self, piece: Piece, header: Piece | None) -> None:
        """Compare the parity of a header with that header."""
        data = self._source.read_at(piece.offset, piece.end - piece.offset)
        if data[:4] != layout.OUR_MAGIC or data[8:12] != PARITY_TAG:
            return
        try:
            parity = parse_parity(data)
        except CorruptRecordError as error:
            self._problem(piece.offset, str(error))
            return
        if header is None or header.kind is not Kind.HEADER or header.descriptor is None:
            self._problem(piece.offset, "a parity is here without a header before it")
            return
        frame = self._source.read_at(header.offset, header.descriptor.compressed_size)
        if pack_parity(frame, parity.fingerprint) != data:
            self._problem(piece.offset, "the parity is not that of the header before it")

    def _segment(self, segment: Segment) -> None:
        result = self._result
        result.segments += 1
        result.problems += segment.damage
        result.problems += [Damage(segment.offset, segment.offset, repair) for repair in segment.repairs]
        if not segment.headers:
            result.problems.append(Damage(segment.offset, segment.offset, "no header follows the prologue"))
            return
        self._header(segment)
        totals: Counter[int] = Counter()
        for frame in segment.frames:
            totals.update(self._frame(frame))
        self._index(segment, totals)
        for skip in segment.skips:
            reason = _REASONS.get(skip.reason, f"reason {skip.reason}")
            result.notes.append(
                f"sequence numbers {skip.first_seq:,} to {skip.last_seq:,} are marked as lost: {reason}"
            )
        unverified = segment.header.attributes.get(UNVERIFIED)
        if unverified:
            result.notes.append(
                f"sequence numbers {unverified.replace('-', ' to ')} come from a cut frame and are unverified"
            )

    def _header(self, segment: Segment) -> None:
        pool = SchemaPool()
        self._classes = {}
        try:
            for serialized in segment.descriptor_sets:
                pool.add(serialized)
            for type_id, name in segment.types.items():
                self._classes[type_id] = pool.message_class(name)
        except CorruptRecordError as error:
            self._problem(segment.headers[0][0], str(error))
        header = segment.header
        if header.format_major != layout.FORMAT_MAJOR or len(header.file_id) != layout.ID_BYTES or not header.run_id:
            self._problem(segment.headers[0][0], "the header does not state its format, file id and run id")

    def _frame(self, frame: FrameRef) -> dict[int, int]:
        """Check one frame; return its events by type, none if it is bad."""
        data = self._source.read_at(frame.offset, frame.compressed_size)
        try:
            raw = self._decoder.decode(data, frame.raw_size)
            facts, content = frame_facts(raw), frame_content(raw)
        except RecordError as error:
            self._result.problems.append(Damage(frame.offset, frame.end, str(error), frame.first_seq, frame.last_seq))
            return {}
        wrong = contradiction(frame.descriptor, facts)
        if wrong:
            self._problem(frame.offset, wrong)
        self._ranges[frame.offset] = facts.ranges
        self._payloads(content)
        self._result.frames += 1
        self._result.records += facts.records
        self._result.raw_bytes += frame.raw_size
        self._progress(frame.end, self._result.size)
        return dict(facts.type_counts)

    def _payloads(self, content: FrameContent) -> None:
        """Count events that the descriptors of the file cannot decode: kept, and no damage."""
        unknown = sum(not self._decodes(one.type_id, one.payload) for one in content.events)
        for block in content.blocks:
            if block.payloads is not None:
                unknown += sum(not self._decodes(block.type_id, payload) for payload in block.payloads)
            elif not self._declares(block):
                unknown += len(block)
        self._result.unknown_types += unknown

    def _decodes(self, type_id: int, payload: bytes) -> bool:
        cls = self._classes.get(type_id)
        try:
            return cls is not None and cls.FromString(payload) is not None
        except DecodeError:
            return False

    def _declares(self, block: BlockColumns) -> bool:
        """Tell whether the type of a block has the fields that its columns are of."""
        cls = self._classes.get(block.type_id)
        if cls is None:
            return False
        fields: Mapping[int, Any] = cls.DESCRIPTOR.fields_by_number
        return all(number in fields and fields[number].type == one.type for number, one in block.columns.items())

    def _index(self, segment: Segment, totals: Counter[int]) -> None:
        index = segment.index
        if index is None:
            return
        stated = {type_id: count for type_id, count in index.type_counts.items() if count}
        if stated and stated != dict(totals):
            self._problem(segment.end, f"the index counts {stated} events by type, the frames hold {dict(totals)}")
        for info, frame in zip(index.frames, segment.frames, strict=False):
            if (info.offset + segment.offset, info.first_seq, info.last_seq) != (
                frame.offset,
                frame.first_seq,
                frame.last_seq,
            ) or (info.min_time_unix_nano, info.max_time_unix_nano) != (frame.min_time, frame.max_time):
                self._problem(
                    frame.offset, "the index states other sequence numbers or times of it than its descriptor"
                )
            if not _within(self._ranges.get(frame.offset, FrameRanges()), stated_ranges(info)):
                self._problem(frame.offset, "the index states other batches or steps of it than its events")

    def _problem(self, offset: int, reason: str) -> None:
        self._result.problems.append(Damage(offset, offset, reason))


def _within(found: FrameRanges, stated: FrameRanges) -> bool:
    """Tell whether events happened where an index states it, which may know no more than a wider range."""
    return all(
        own is None or (told is not None and told[0] <= own[0] and own[1] <= told[1])
        for own, told in zip(found, stated, strict=True)
    )


_REASONS: dict[int, str] = {
    layout.SkipReason.UNSPECIFIED: "no reason given",
    layout.SkipReason.SPOOL_LOST: "the producer's file was gone",
    layout.SkipReason.CORRUPT: "the producer's file was damaged",
    layout.SkipReason.TOO_BIG: "over a limit",
}
