"""Writes record files: of events (`RecordWriter`), or of frames that exist already (`RecordBuilder`).

Every call of the writer ends in one unbuffered write of whole structures. If that fails, the file is cut back to
where it was, so what is on disk is a valid record at every moment, and the same batch may be written again. The
builder places frames byte for byte, for recover, merge and filter; its file may hold several segments. Neither
renames, rewrites or reads back. Not for use by two threads at once.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.append import AppendFile, Gone
from esper_telemetry.recordfile.frame import FrameEncoder
from esper_telemetry.recordfile.header import TypeTable, pack_header
from esper_telemetry.recordfile.index import ANYWHERE, FooterBuilder, FrameRanges, mask_of
from esper_telemetry.recordfile.layout import Descriptor
from esper_telemetry.recordfile.row_types import row_types
from esper_telemetry.schema.batch import MAX_BATCH_BYTES

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from esper_telemetry.recordfile.header import HeaderInfo
    from esper_telemetry.recordfile.layout import Skip
    from esper_telemetry.schema.batch import Batch
    from esper_telemetry.schema.event_type import EventType
    from esper_telemetry.v1 import record_pb2


class Vanished(NamedTuple):
    """A file that was being written and is not what it should be.

    Attributes:
        path: where it should be.
        how: what another process did to it.
        events: what was written and is not there any more, by type id.
    """

    path: Path
    how: Gone
    events: Counter[int]


class RecordWriter:
    """A record file that is being written.

    Args:
        path: the file to create; it must not exist.
        header: its identity.
        types: event types by id; each is declared when a batch first has one. Those that a batch brings are added.
        first: ids of the types that the first header declares: those of the batch that the file is opened for.
        level: zstd compression level.

    Raises:
        SinkError: the file exists already, or cannot be created or written.

    Attributes:
        path: the file.
        file_id: its 16 bytes of identity.
        frames: data frames written.
        records: events written.
        last_seq: last sequence number covered.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        header: HeaderInfo,
        types: Iterable[tuple[int, EventType]],
        *,
        first: Iterable[int] = (),
        level: int = 3,
    ) -> None:
        self.path = Path(path)
        self.file_id = header.file_id
        self.frames = 0
        self.records = 0
        self.last_seq = header.previous_last_seq
        self._encode = FrameEncoder(level).encode
        self._types: dict[int, EventType] = {}
        self._names: dict[int, str] = {}
        self._learn(types)
        self._table = TypeTable()
        self._footer = FooterBuilder()
        self._file = AppendFile(self.path)
        try:
            self._start(self._table.first_header(header, self._known(first)))
        except BaseException:
            self._file.discard()
            raise

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._file.closed

    @property
    def bytes_written(self) -> int:
        """Size of the file so far."""
        return self._file.size

    def write(self, batch: Batch) -> None:
        """Append `batch` as one frame; an empty batch writes nothing.

        Sequence numbers between the last batch and this one were dropped; the frame covers them.

        Raises:
            SinkError: the batch repeats sequence numbers or is over the limit, the file is closed, or the operating
                system refused; in that case nothing of the batch is in the file.
        """
        if not batch.records:
            return
        desc, frame, counts = self._build(batch)
        self._learn(batch.new_types)
        rows = row_types(batch.raw, counts, self._names)
        declaration = self._table.further_header(self.file_id, self._known({*counts, *rows}))
        pieces = [frame, layout.pack_descriptor(desc)]
        start = self._file.size
        packed = None if declaration is None else pack_header(declaration)
        if packed is not None:
            pieces[:0] = [packed.data, packed.parity]
        self._file.append(b"".join(pieces))
        if declaration is not None and packed is not None:
            self._footer.add_header(start, packed.frame, packed.desc.raw_size)
            self._add_parity(packed.parity)
            self._table.declared(declaration)
            start += len(packed.data) + len(packed.parity)
        self._footer.add_data(start, frame, desc, counts, FrameRanges(batch.batch_range, batch.step_range))
        self.frames += 1
        self.records += desc.records
        self.last_seq = desc.last_seq

    def sync(self) -> None:
        """Force what was written to the disk.

        Raises:
            SinkError: the operating system refused.
        """
        self._file.sync()

    def close(self, *, sync: bool = True) -> None:
        """Write index and seek table and close the file; a second call does nothing.

        Raises:
            SinkError: the operating system refused; the file is closed all the same, without a footer, and readable.
        """
        if self._file.closed:
            return
        try:
            self._file.append(self._footer.footer())
            if sync:
                self._file.sync()
        finally:
            self._file.close()

    def abandon(self) -> None:
        """Close the file without writing a footer. A fork child's copy is abandoned by itself."""
        self._file.close()

    def vanished(self) -> Vanished | None:
        """Look for the file under its name; return what another process did to it, or None."""
        how = self._file.gone()
        if how is None:
            return None
        kept = self._file.size_there() if how is Gone.CUT else 0
        return Vanished(self.path, how, self._footer.type_counts(beyond=kept))

    def type_counts(self) -> Counter[int]:
        """Return the events written, by type id."""
        return self._footer.type_counts()

    def _learn(self, types: Iterable[tuple[int, EventType]]) -> None:
        for number, kind in types:
            self._types[number] = kind
            self._names[number] = kind.full_name

    def _known(self, type_ids: Iterable[int]) -> list[tuple[int, EventType]]:
        """Return the types with these ids; one that was never given stays undeclared."""
        return [(number, self._types[number]) for number in sorted(type_ids) if number in self._types]

    def _start(self, header: record_pb2.Header) -> None:
        prologue = layout.pack_prologue()
        packed = pack_header(header)
        self._file.append(prologue + packed.data + packed.parity)
        self._footer.add_skippable(len(prologue))
        self._footer.add_header(len(prologue), packed.frame, packed.desc.raw_size)
        self._add_parity(packed.parity)
        self._table.declared(header)

    def _add_parity(self, parity: bytes) -> None:
        if parity:
            self._footer.add_skippable(len(parity))

    def _build(self, batch: Batch) -> tuple[Descriptor, bytes, Counter[int]]:
        if batch.first_seq <= self.last_seq or batch.last_seq - self.last_seq < batch.records:
            raise SinkError(
                f"{self.path}: the batch covers {batch.first_seq:,} to {batch.last_seq:,} with {batch.records:,}"
                f" events after sequence number {self.last_seq:,}: numbers would repeat"
            )
        raw = batch.raw
        if len(raw) > MAX_BATCH_BYTES:
            raise SinkError(f"{self.path}: the batch takes {len(raw):,} bytes, over the limit of {MAX_BATCH_BYTES:,}")
        frame = self._encode(raw)
        counts = batch.type_counts
        desc = Descriptor(
            compressed_size=len(frame),
            raw_size=len(raw),
            records=batch.records,
            type_mask=mask_of(counts),
            first_seq=self.last_seq + 1,
            last_seq=batch.last_seq,
            min_time=batch.min_time,
            max_time=batch.max_time,
        )
        return desc, frame, counts


class RecordBuilder:
    """A record file that is put together from whole pieces.

    Used as a context manager it removes the file when its body raises.

    Args:
        path: the file to create; it must not exist.

    Raises:
        SinkError: the file exists already or cannot be created. Every method raises it when a write fails.

    Attributes:
        path: the file.
        last_seq: last sequence number covered in the present segment.
        records: events placed, over all segments.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.last_seq = 0
        self.records = 0
        self._file = AppendFile(self.path)
        self._footer = FooterBuilder()
        self._start = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._file.discard()
        else:
            self.close()

    @property
    def size(self) -> int:
        """Bytes placed so far."""
        return self._file.size

    def start_segment(self, *, previous_last_seq: int = 0) -> None:
        """Place a prologue: types, sequence numbers and the footer start anew."""
        self._start = self._file.size
        self._footer = FooterBuilder()
        self.last_seq = previous_last_seq
        self.add_skippable(layout.pack_prologue())

    def add_header(self, data: bytes, desc: Descriptor, parity: bytes = b"") -> None:
        """Place a header frame.

        Args:
            data: the frame and its descriptor.
            desc: that descriptor, parsed.
            parity: what follows it.
        """
        offset = self._file.size - self._start
        self._file.append(data)
        self._footer.add_header(offset, data[: desc.compressed_size], desc.raw_size)
        if parity:
            self.add_skippable(parity)

    def add_frame(
        self,
        data: bytes,
        desc: Descriptor,
        type_counts: Mapping[int, int] | None = None,
        ranges: FrameRanges = ANYWHERE,
    ) -> None:
        """Place a data frame.

        Args:
            data: the frame and its descriptor.
            desc: that descriptor, parsed.
            type_counts: events by type id; None where they were not counted, and readers ask the descriptor then.
            ranges: where its events happened.
        """
        offset = self._file.size - self._start
        self._file.append(data)
        self._footer.add_data(offset, data[: desc.compressed_size], desc, type_counts or Counter(), ranges)
        self.last_seq = desc.last_seq
        self.records += desc.records

    def add_skip(self, skip: Skip) -> None:
        """Place the marker of a range of sequence numbers that will never come."""
        self.add_skippable(layout.pack_skip(skip))
        self.last_seq = max(self.last_seq, skip.last_seq)

    def add_skippable(self, data: bytes) -> None:
        """Place a skippable frame of any kind."""
        self._file.append(data)
        self._footer.add_skippable(len(data))

    def finish_segment(self) -> None:
        """Place index and seek table."""
        self._file.append(self._footer.footer())

    def sync(self) -> None:
        """Force what was placed to the disk."""
        self._file.sync()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()
