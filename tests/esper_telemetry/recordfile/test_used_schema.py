from __future__ import annotations

from esper_telemetry.recordfile import RecordReader, RecordWriter
from esper_telemetry.recordfile.header import descriptor_files
from esper_telemetry.recordfile.used_schema import header_of_used
from esper_telemetry.schema import Batch, frame_event
from esper_telemetry.schema.descriptors import SchemaPool
from esper_telemetry.v1 import training_pb2


def test_types_that_no_event_has_are_left_out_with_what_only_they_need(records):
    at = records.start
    event = frame_event(records.scalar, at, 1, b"", training_pb2.ScalarLogged(name="n").SerializeToString())
    writer = RecordWriter(records.path(), records.header(), records.types)
    batch = Batch.of_events([event], [records.scalar], (1, 1), (at, at))
    batch.new_types = list(records.types)
    writer.write(batch)
    writer.close()
    with RecordReader(writer.path) as reader:
        (segment,) = reader.segments
    pool = SchemaPool()
    for one in segment.descriptor_sets:
        pool.add(one)
    header = header_of_used(segment, pool)
    assert {entry.type_id for entry in header.types} == {records.scalar}
    assert len(header.file_descriptor_set) < sum(map(len, segment.descriptor_sets))
    small = SchemaPool()
    small.add(header.file_descriptor_set)
    for entry in header.types:
        assert small.message_class(entry.full_name).DESCRIPTOR.full_name == entry.full_name
    small.message_class("esper_telemetry.v1.Context")
    assert not any("RunStarted" in name for name in descriptor_files(header.file_descriptor_set))
