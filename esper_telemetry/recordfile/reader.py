"""Reads a record file: whole, by window, by frame, damaged or still growing.

It opens by the footer if that may be trusted, else by the frames' descriptors, and
decompresses only frames that are asked for. A torn tail is reported (`truncation`), never
raised; a damaged frame raises unless the caller takes the damage. It never
writes. Not for use by two threads at once.
"""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Self, TypeVar

from esper_telemetry.errors import CorruptRecordError, NotARecordError, RecordError, UnsupportedRecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.damage import Damage
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.frame_events import (
    SMALLEST_EVENT,
    FrameContent,
    event_columns,
    frame_content,
    parse_envelopes,
    parse_events,
)
from esper_telemetry.recordfile.header import parse_header_frame
from esper_telemetry.recordfile.index import FrameRef
from esper_telemetry.recordfile.piece import Kind
from esper_telemetry.recordfile.segment import assemble
from esper_telemetry.recordfile.selection import EVERYTHING
from esper_telemetry.recordfile.source import open_source
from esper_telemetry.recordfile.walk import find_pieces, walk

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from esper_telemetry.recordfile.damage import Truncation
    from esper_telemetry.recordfile.frame_events import Envelope, EventColumns
    from esper_telemetry.recordfile.segment import Assembler, Segment
    from esper_telemetry.recordfile.selection import Selection
    from esper_telemetry.recordfile.source import Source
    from esper_telemetry.v1 import record_pb2

    OnDamage = Callable[[Damage], None]


Parsed = TypeVar("Parsed")


class RecordReader:
    """A record file open for reading.

    Args:
        source: path of the file, its bytes, or a Source.
        spare: header to assume for frames whose own header is lost: its types and descriptors hold for them.
        decoder: a decoder to share with other readers of the same thread, as each takes 100 KB; None for its own.

    Raises:
        NotARecordError: it is something else; the message names what it looks like.
        CorruptRecordError: no header can be read, and none was lent.
        UnsupportedRecordError: a newer format, or a header over a limit.
        RecordError: it cannot be opened.

    Attributes:
        path: the file, as text; "-" for bytes.
        size: bytes of the file when it was opened.
        segments: one for each prologue; types and sequence numbers hold inside a segment.
        damage: everything that cannot be read, in file order.
        truncation: how the file is cut, or None.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | bytes | Source,
        *,
        spare: record_pb2.Header | None = None,
        decoder: FrameDecoder | None = None,
    ) -> None:
        self._source = open_source(source)
        self._decoder = decoder or FrameDecoder()
        self.path = self._source.name
        try:
            self.size = self._source.size
            found = self._assemble(spare)
            self.segments: list[Segment] = [segment for segment in found.segments if segment.described]
            self.truncation: Truncation | None = found.truncation
            self.damage: list[Damage] = sorted(
                [*found.damage, *(damage for segment in self.segments for damage in segment.damage)],
                key=lambda damage: damage.offset,
            )
            self._orphans = found.damage
            self._check_header()
        except BaseException:
            self._source.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    @property
    def header(self) -> record_pb2.Header:
        """Header of the first segment."""
        return self.segments[0].header

    @property
    def types(self) -> dict[int, str]:
        """Full message name by type id, of the first segment."""
        return self.segments[0].types

    @property
    def descriptor_sets(self) -> list[bytes]:
        """Serialized FileDescriptorSets of the first segment."""
        return self.segments[0].descriptor_sets

    @property
    def index(self) -> record_pb2.Index | None:
        """Index of the first segment, if its footer may be trusted."""
        return self.segments[0].index

    @property
    def closed(self) -> bool:
        """Whether every segment ends in a footer that may be trusted."""
        return all(segment.closed for segment in self.segments) and self.truncation is None

    @property
    def repairs(self) -> list[str]:
        """What is damaged and costs nothing: headers that were made again."""
        return [repair for segment in self.segments for repair in segment.repairs]

    @property
    def records(self) -> int:
        """Events in the file, as its frames count them."""
        return sum(segment.records for segment in self.segments)

    def frames(self) -> Iterator[FrameRef]:
        """Yield every data frame, in file order, without decompressing."""
        for segment in self.segments:
            yield from segment.frames

    def read_raw(self, frame: FrameRef) -> bytes:
        """Return a frame and its descriptor byte for byte.

        Raises:
            CorruptRecordError: the descriptor there is not the one of `frame`.
        """
        data = self._source.read_at(frame.offset, frame.compressed_size + layout.DESCRIPTOR_BYTES)
        found = layout.descriptor_at(data, frame.compressed_size)
        if found != frame.descriptor:
            raise self._frame_error(frame, f"the descriptor after it is {found}, not {frame.descriptor}")
        return data

    def decompress(self, frame: FrameRef) -> bytes:
        """Return the raw bytes of a frame: elements of `RecordFile.event`.

        Raises:
            CorruptRecordError: sizes, descriptor or XXH64 do not match.
        """
        data = self.read_raw(frame)
        if frame.records * SMALLEST_EVENT > frame.raw_size:
            raise self._frame_error(frame, f"{frame.records:,} events do not fit into {frame.raw_size:,} bytes")
        try:
            return self._decoder.decode(data[: frame.compressed_size], frame.raw_size)
        except RecordError as error:
            raise self._frame_error(frame, str(error)) from None

    def read_frame(self, frame: FrameRef) -> list[record_pb2.Event]:
        """Return the events of a frame, verified.

        Raises:
            CorruptRecordError: sizes, descriptor, XXH64, count or sequence numbers do not match.
        """
        return list(self._parsed(frame, self.decompress(frame), parse_events))

    def read_envelopes(self, frame: FrameRef, selection: Selection | None = None) -> Sequence[Envelope]:
        """Return the events of a frame that are wanted, with their contexts as bytes.

        Args:
            frame: the frame.
            selection: which of its events; None for all.

        Raises:
            CorruptRecordError: as `read_frame`; contexts are not checked.
        """
        raw = self.decompress(frame)
        envelopes = self._parsed(frame, raw, parse_envelopes)
        return envelopes if selection is None or selection.covers(frame) else selection.pick(envelopes, raw)

    def read_content(self, frame: FrameRef, selection: Selection) -> FrameContent:
        """Return the events of a frame as they lie there: its blocks, and what is wanted of those that came one by one.

        Args:
            frame: the frame.
            selection: which of its events; of blocks it decides by type alone, which of their events is left to the
                caller (`Selection.places`).

        Raises:
            CorruptRecordError: as `read_envelopes`; what blocks of other types hold is not checked.
        """
        raw = self.decompress(frame)
        content = self._parsed(frame, raw, partial(frame_content, type_ids=selection.type_ids))
        return content if selection.covers(frame) else picked_content(content, selection, raw)

    def read_columns(self, frame: FrameRef) -> EventColumns:
        """Return the events of a frame by column: no object is made for an event.

        Raises:
            CorruptRecordError: as `read_envelopes`.
        """
        return self._parsed(frame, self.decompress(frame), event_columns)

    def _parsed(self, frame: FrameRef, raw: bytes, parse: Callable[[bytes, FrameRef], Parsed]) -> Parsed:
        try:
            return parse(raw, frame)
        except CorruptRecordError as error:
            raise self._frame_error(frame, str(error)) from None

    def events(
        self, selection: Selection | None = None, *, on_damage: OnDamage | None = None
    ) -> Iterator[record_pb2.Event]:
        """Yield the events of all segments, in file order. Type ids hold inside a segment.

        Args:
            selection: which events; frames not concerned are not decompressed.
            on_damage: called with each damage, after which reading goes on; without it the damage is raised.

        Raises:
            CorruptRecordError: a frame is damaged and `on_damage` is not given.
        """
        return chain.from_iterable(self._all_chunks(selection, on_damage))

    # Frames are handed to chain() whole: a generator that yields each event costs more than parsing it.

    def _all_chunks(
        self, selection: Selection | None, on_damage: OnDamage | None
    ) -> Iterator[Sequence[record_pb2.Event]]:
        for damage in self._orphans:
            self._tell(damage, on_damage)
        for segment in self.segments:
            yield from self._chunks(segment, selection, on_damage)

    def _chunks(
        self, segment: Segment, selection: Selection | None, on_damage: OnDamage | None
    ) -> Iterator[Sequence[record_pb2.Event]]:
        wanted = selection or EVERYTHING
        for item in segment.items:
            if isinstance(item, Damage):
                self._tell(item, on_damage)
                continue
            if not wanted.concerns(item):
                continue
            try:
                raw = self.decompress(item)
                events = self._parsed(item, raw, parse_events)
            except CorruptRecordError as error:
                if on_damage is None:
                    raise
                on_damage(Damage(item.offset, item.end, error.reason, item.first_seq, item.last_seq))
                continue
            yield events if wanted.covers(item) else wanted.pick(events, raw)

    def _tell(self, damage: Damage, on_damage: OnDamage | None) -> None:
        if on_damage is None:
            raise damage.error(self.path)
        on_damage(damage)

    def _frame_error(self, frame: FrameRef, reason: str) -> CorruptRecordError:
        return unreadable_frame(self.path, frame, reason)

    def _assemble(self, spare: record_pb2.Header | None) -> Assembler:
        damaged = check_prologue(self._source)
        found = assemble(self._source, self._decoder, find_pieces(self._source), spare)
        if damaged and found.segments:
            found.segments[0].repairs.insert(0, damaged)
        return found

    def _check_header(self) -> None:
        if self.segments:
            return
        if self.truncation is not None and not self.damage:
            raise CorruptRecordError(
                f"the file ends inside its header after {self.size:,} bytes; it holds no event",
                path=self.path,
                offset=self.truncation.start,
            )
        if self.size == layout.PROLOGUE_BYTES:
            raise CorruptRecordError("the file ends after its prologue; it holds no event", path=self.path)
        reason = str(self.damage[0]) if self.damage else "no header follows the prologue"
        raise CorruptRecordError(
            f"the header is torn: {reason}; run esper-telemetry recover", path=self.path, offset=layout.PROLOGUE_BYTES
        )


class PayloadReader:
    """Reads frames that come one by one, each with its descriptor after it, as a stream carries them.

    Not for use by two threads at once.

    Args:
        name: where they come from, for errors.
    """

    def __init__(self, name: str) -> None:
        self.path = name
        self._decoder = FrameDecoder()

    def read_content(self, payload: bytes, selection: Selection) -> FrameContent:
        """Return the events of a frame as `RecordReader.read_content` does.

        Args:
            payload: the frame and its descriptor.
            selection: which of its events.

        Raises:
            CorruptRecordError: sizes, descriptor, XXH64, count or sequence numbers do not match.
        """
        size = len(payload) - layout.DESCRIPTOR_BYTES
        desc = layout.descriptor_at(payload, size) if size > 0 else None
        if desc is None or not desc.records or desc.compressed_size != size:
            raise CorruptRecordError(f"{len(payload):,} bytes are no frame with its descriptor", path=self.path)
        frame = FrameRef(0, *desc)
        if not selection.concerns(frame):
            return FrameContent([], [])
        try:
            raw = self._decoder.decode(payload[:size], desc.raw_size)
            content = frame_content(raw, frame, selection.type_ids)
        except RecordError as error:
            raise unreadable_frame(self.path, frame, str(error)) from None
        return content if selection.covers(frame) else picked_content(content, selection, raw)


def picked_content(content: FrameContent, selection: Selection, raw: bytes) -> FrameContent:
    """Return the events of a frame with those that are wanted of what came one by one."""
    if not content.blocks:
        return FrameContent(selection.pick(content.events, raw), [])
    return FrameContent([event for event in content.events if selection.keeps(event)], content.blocks)


def unreadable_frame(path: str, frame: FrameRef, reason: str) -> CorruptRecordError:
    """Return the error for a frame of the file `path` that cannot be read."""
    return CorruptRecordError(
        f"the frame with sequence numbers {frame.first_seq:,} to {frame.last_seq:,} cannot be read: {reason};"
        " run esper-telemetry recover",
        path=path,
        offset=frame.offset,
        reason=reason,
    )


def check_prologue(source: Source) -> str:
    """Check that a file starts as a record does; return what is damaged of its prologue, the header being whole.

    Raises:
        NotARecordError: it is something else.
        CorruptRecordError: it ends inside its prologue.
        UnsupportedRecordError: a newer format.
    """
    start = source.read_at(0, layout.PROLOGUE_BYTES)
    try:
        prologue = layout.parse_prologue(start)
    except CorruptRecordError:
        if _header_behind(source) is not None:
            return "the prologue is damaged, the header after it is whole"
        raise NotARecordError(
            f"not a record file: {looks_like(start)}; pass a *.esr.zst file, or try recover if it was one",
            path=source.name,
            offset=0,
        ) from None
    except UnsupportedRecordError as error:
        header = _header_behind(source)
        if header is not None and header.format_major <= layout.FORMAT_MAJOR:
            return f"the prologue is damaged: {error}, but the header states version {header.format_major}"
        raise UnsupportedRecordError(str(error), path=source.name, offset=0) from None
    if not start:
        raise NotARecordError("not a record file: it is empty", path=source.name)
    if prologue is None:
        raise CorruptRecordError(
            f"the file ends inside its prologue after {len(start)} bytes; it holds no event", path=source.name, offset=0
        )
    return ""


def _header_behind(source: Source) -> record_pb2.Header | None:
    """Return the header if it is whole at its offset, so that nothing but the prologue is damaged; else None."""
    end = layout.PROLOGUE_BYTES + layout.MAX_HEADER_BYTES + layout.DESCRIPTOR_BYTES
    piece = next(walk(source, layout.PROLOGUE_BYTES, end=end), None)
    if piece is None or piece.kind is not Kind.HEADER or piece.descriptor is None:
        return None
    frame, desc = source.read_at(piece.offset, piece.descriptor.compressed_size), piece.descriptor
    try:
        return parse_header_frame(FrameDecoder().decode(frame, desc.raw_size))
    except (CorruptRecordError, UnsupportedRecordError):
        return None


# --- what is no record ------------------------------------------------------------------------------------------------

_SIGNATURES = (
    (b"\x28\xb5\x2f\xfd", "a zstd file that is no record"),
    (b"\x1f\x8b", "a gzip file"),
    (b"PK\x03\x04", "a zip file or a torch checkpoint"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\x89MCAP0", "an MCAP file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x89HDF", "an HDF5 file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"\x7fELF", "a program"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"{", "JSON"),
    (b"[", "JSON"),
    (b"<", "HTML or XML"),
)
_SHOWN_BYTES = 8


def looks_like(start: bytes) -> str:
    """Return in a few words what a file that starts with `start` seems to be."""
    if not start:
        return "it is empty"
    if not start.strip(b"\0"):
        return "it starts with zeros"
    for signature, name in _SIGNATURES:
        if start.startswith(signature):
            return f"it looks like {name}"
    if start.isascii() and all(byte >= ord(" ") or byte in b"\t\r\n" for byte in start):
        return "it looks like text"
    return f"it starts with {start[:_SHOWN_BYTES].hex(' ')}"
