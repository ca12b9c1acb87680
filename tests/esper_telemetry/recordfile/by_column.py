"""The same record by column: every frame written anew with its events in blocks, for tests that compare the two."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from esper_telemetry.recordfile import RecordReader, layout
from esper_telemetry.recordfile.facts import facts_of
from esper_telemetry.recordfile.frame import FrameEncoder
from esper_telemetry.recordfile.header import header_descriptor, header_frame_bytes, header_parity
from esper_telemetry.recordfile.writer import RecordBuilder
from esper_telemetry.schema.descriptors import SchemaPool
from esper_telemetry.schema.frame_builder import EventRows, build_frame

if TYPE_CHECKING:
    from pathlib import Path

    from esper_telemetry.recordfile import Segment

_encode = FrameEncoder(3).encode


def rewrite_by_column(source: Path, output: Path) -> Path:
    """Write the events of the record `source` to the new file `output`: same headers, same numbers, blocks."""
    with RecordReader(source) as reader, RecordBuilder(output) as builder:
        for segment in reader.segments:
            builder.start_segment(previous_last_seq=segment.header.previous_last_seq)
            copy_headers(segment, builder)
            pool = SchemaPool()
            for serialized in segment.descriptor_sets:
                pool.add(serialized)
            for frame in segment.frames:
                events, rows = reader.read_frame(frame), EventRows()
                for one in events:
                    name = segment.types.get(one.type_id)
                    message = None if name is None else pool.message_class(name).FromString(one.payload)
                    rows.add(one.type_id, one.seq, one.time_unix_nano, one.context, one.payload, message=message)
                raw = build_frame(rows.groups()).raw
                data = _encode(raw)
                desc = facts_of(events).descriptor(len(data), len(raw))
                desc = desc._replace(first_seq=frame.first_seq, last_seq=frame.last_seq)
                counts = Counter(one.type_id for one in events)
                builder.add_frame(data + layout.pack_descriptor(desc), desc, counts)
            if segment.closed:
                builder.finish_segment()
    return output


def copy_headers(segment: Segment, builder: RecordBuilder) -> None:
    """Write one header with all types of a segment, and one more for each further set of descriptors."""
    first, *further = segment.descriptor_sets or [b""]
    header = type(segment.header)()
    header.CopyFrom(segment.header)
    header.file_descriptor_set = first
    headers = [header]
    headers += [type(header)(format_major=1, file_id=header.file_id, file_descriptor_set=more) for more in further]
    for one in headers:
        raw = header_frame_bytes(one)
        frame = _encode(raw)
        desc = header_descriptor(frame, raw)
        builder.add_header(frame + layout.pack_descriptor(desc), desc, header_parity(frame, one))
