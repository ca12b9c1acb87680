"""The same record by column: every frame written anew with its events in blocks, for tests that compare the two."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from esper.v1 import seed_pb2, trainer_pb2
from esper_telemetry.recordfile import RecordReader, layout
from esper_telemetry.recordfile.facts import frame_facts
from esper_telemetry.recordfile.frame import FrameEncoder
from esper_telemetry.recordfile.header import header_descriptor, header_frame_bytes, header_parity
from esper_telemetry.recordfile.writer import RecordBuilder
from esper_telemetry.schema.descriptors import SchemaPool
from esper_telemetry.schema.frame_builder import EventRows, build_frame
from esper_telemetry.v1 import training_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from google.protobuf.message import Message

    from esper_telemetry.recordfile import FrameRef, Segment
    from esper_telemetry.v1 import record_pb2

_encode = FrameEncoder(3).encode


def rewrite_by_column(source: Path, output: Path) -> Path:
    """Write the events of the record `source` to the new file `output`: same headers, same numbers, blocks."""
    pools: dict[int, SchemaPool] = {}

    def by_column(frame: FrameRef, segment: Segment, events: Sequence[record_pb2.Event]) -> bytes:
        pool = pools.get(segment.number)
        if pool is None:
            pool = pools[segment.number] = SchemaPool()
            for serialized in segment.descriptor_sets:
                pool.add(serialized)
        rows = EventRows()
        for one in events:
            name = segment.types.get(one.type_id)
            message = None if name is None else pool.message_class(name).FromString(one.payload)
            rows.add(one.type_id, one.seq, one.time_unix_nano, one.context, one.payload, message=message)
        return build_frame(rows.groups()).raw

    return _rewritten(source, output, by_column)


def replace_frames(source: Path, output: Path, frames: Sequence[bytes]) -> Path:
    """Write a record with the headers of `source` and, in the place of its frames, others of as many events."""
    instead = iter(frames)
    return _rewritten(source, output, lambda _frame, _segment, _events: next(instead))


def _rewritten(
    source: Path, output: Path, made: Callable[[FrameRef, Segment, Sequence[record_pb2.Event]], bytes]
) -> Path:
    with RecordReader(source) as reader, RecordBuilder(output) as builder:
        for segment in reader.segments:
            builder.start_segment(previous_last_seq=segment.header.previous_last_seq)
            copy_headers(segment, builder)
            for frame in segment.frames:
                raw = made(frame, segment, reader.read_frame(frame))
                data = _encode(raw)
                facts = frame_facts(raw)
                desc = facts.descriptor(len(data), len(raw))._replace(
                    first_seq=frame.first_seq, last_seq=frame.last_seq
                )
                builder.add_frame(data + layout.pack_descriptor(desc), desc, facts.type_counts)
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


def variety(first: int, count: int) -> list[tuple[Message, dict]]:
    """Return events of several types and shapes, one after the other."""
    made = []
    for at in range(first, first + count):
        where = {"env_id": at % 3, "device": f"cuda:{at % 2}", "step": 2**63 + at, "batch_idx": 7}
        scalar = training_pb2.ScalarLogged(name=("loss", "lr", "")[at % 3], value=(0.1 * at, math.nan, -0.0)[at % 3])
        if at % 4 == 0:
            scalar.step = at  # the context has a field of this name too
        epoch = training_pb2.EpochCompleted(val_accuracy=float(at))
        if at % 2:
            epoch.train_loss = math.inf
        action = trainer_pb2.ActionTaken(op=at % 5, reward=at / 7)
        stage = seed_pb2.SeedStageChanged()
        made += [(scalar, where), (epoch, {"env_id": at} if at % 5 else {}), (action, where), (stage, {})]
    return made
