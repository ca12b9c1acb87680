"""Writes the events that are wanted into a new record, and compacts it where that makes it a third smaller.

The new file has an identity of its own, derived from the old one and from what was
asked, and states in its header that it is filtered. Sequence numbers stay as they were; those left
out lie inside the ranges of its frames, as dropped ones do.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.compaction import compact_file
from esper_telemetry.recordfile.damage import Damage
from esper_telemetry.recordfile.facts import facts_of
from esper_telemetry.recordfile.frame import FrameEncoder
from esper_telemetry.recordfile.frame_events import parse_events
from esper_telemetry.recordfile.header import pack_header
from esper_telemetry.recordfile.reader import RecordReader
from esper_telemetry.recordfile.writer import RecordBuilder
from esper_telemetry.schema.envelope import frame_event

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from esper_telemetry.recordfile.damage import Truncation
    from esper_telemetry.recordfile.index import FrameRef
    from esper_telemetry.recordfile.segment import Segment
    from esper_telemetry.recordfile.selection import Selection
    from esper_telemetry.recordfile.source import Source

# Attribute of a header: what was asked for when the file was made from another.
FILTERED = "esper_telemetry.filtered"
_LEVEL = 3


@dataclass(slots=True)
class Filtered:
    """What a filter did.

    Attributes:
        output: the new file.
        segments: segments in it; without any there is no file.
        events: events in it.
        dropped: events that were left out on purpose.
        frames: frames in it.
        copied: frames of these that are byte for byte those of the input; none where the new file was compacted.
        damage: what could not be read; it is not in the output.
        truncation: how the input is cut, or None.
    """

    output: Path
    segments: int = 0
    events: int = 0
    dropped: int = 0
    frames: int = 0
    copied: int = 0
    damage: list[Damage] = field(default_factory=list)
    truncation: Truncation | None = None

    @property
    def complete(self) -> bool:
        """Whether everything could be read: exit code 0, else 3."""
        return not self.damage and self.truncation is None


def filter_record(
    source: str | os.PathLike[str] | bytes | Source,
    output: str | os.PathLike[str],
    choose: Callable[[Segment], Selection | None],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Filtered:
    """Write the events of `source` that are wanted to the new file `output`.

    Args:
        source: the record.
        output: the file to create.
        choose: returns for each segment (its types and header) which events are wanted; None leaves it out.
        progress: called with bytes read and bytes there are.

    Raises:
        RecordError: the source is no record.
        SinkError: the output exists already or cannot be written.
    """
    result = Filtered(Path(output))
    report = progress or (lambda _done, _total: None)
    with RecordReader(source) as reader, RecordBuilder(output) as builder:
        result.damage += reader.damage
        result.truncation = reader.truncation
        for segment in reader.segments:
            selection = choose(segment)
            if selection is not None:
                result.segments += 1
                for frame in _Filter(reader, builder, result).segment(segment, selection):
                    report(frame.end, reader.size)
        builder.sync()
        report(reader.size, reader.size)
    if not result.segments:
        result.output.unlink()
        return result
    compacted = compact_file(result.output)
    if not compacted.kept:
        result.frames, result.copied = compacted.frames[1], 0
    return result


class _Filter:
    def __init__(self, reader: RecordReader, builder: RecordBuilder, result: Filtered) -> None:
        self._reader = reader
        self._builder = builder
        self._result = result
        self._encode = FrameEncoder(_LEVEL).encode

    def segment(self, segment: Segment, selection: Selection) -> Iterator[FrameRef]:
        """Place what is wanted of a segment; yield each frame of it once it is done."""
        self._builder.start_segment(previous_last_seq=segment.header.previous_last_seq)
        self._header(segment, selection)
        for frame in segment.frames:
            try:
                self._frame(frame, selection)
            except CorruptRecordError as error:
                damage = Damage(frame.offset, frame.end, error.reason, frame.first_seq, frame.last_seq)
                self._result.damage.append(damage)
            yield frame
        self._builder.finish_segment()

    def _header(self, segment: Segment, selection: Selection) -> None:
        """Place one header with all types, and one more for each further set of descriptors."""
        asked = str(selection)
        identity = hashlib.sha256(segment.header.file_id + asked.encode()).digest()[: layout.ID_BYTES]
        first, *further = segment.descriptor_sets or [b""]
        header = type(segment.header)()
        header.CopyFrom(segment.header)
        header.file_id = identity
        header.file_descriptor_set = first
        header.attributes[FILTERED] = asked
        headers = [header]
        headers += [type(header)(format_major=1, file_id=identity, file_descriptor_set=more) for more in further]
        for one in headers:
            packed = pack_header(one)
            self._builder.add_header(packed.data, packed.desc, packed.parity)

    def _frame(self, frame: FrameRef, selection: Selection) -> None:
        if not selection.concerns(frame):
            self._result.dropped += frame.records
            return
        raw = self._reader.decompress(frame)
        events = list(parse_events(raw))
        kept = [event for event in events if selection.keeps(event)]
        self._result.dropped += len(events) - len(kept)
        if not kept:
            return
        data = self._reader.read_raw(frame)[: frame.compressed_size]
        if len(kept) == len(events):
            self._result.copied += 1
        else:
            raw = b"".join(
                frame_event(one.type_id, one.time_unix_nano, one.seq, one.context.SerializeToString(), one.payload)
                for one in kept
            )
            data = self._encode(raw)
        # Sequence numbers that were left out before it become part of its range.
        facts = facts_of(kept)
        desc = facts.descriptor(len(data), len(raw))
        desc = desc._replace(first_seq=self._builder.last_seq + 1, last_seq=frame.last_seq)
        self._builder.add_frame(data + layout.pack_descriptor(desc), desc, facts.type_counts, facts.ranges)
        self._result.frames += 1
        self._result.events += len(kept)
