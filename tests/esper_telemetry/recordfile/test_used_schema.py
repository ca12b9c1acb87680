from __future__ import annotations

from esper_telemetry.recordfile import RecordReader, RecordWriter
from esper_telemetry.recordfile.header import descriptor_files
from esper_telemetry.recordfile.used_schema import header_of_used
from esper_telemetry.schema.descriptors import SchemaPool


def test_types_that_no_event_has_are_left_out_with_what_only_they_need(records):
    writer = RecordWriter(records.path(), records.header(), records.types, first=[one for one, _ in records.types])
    writer.write(records.batch(1, 10))
    writer.close()
    with RecordReader(writer.path) as reader:
        (segment,) = reader.segments
    pool = SchemaPool()
    for one in segment.descriptor_sets:
        pool.add(one)
    header = header_of_used(segment, pool)
    assert {entry.type_id for entry in header.types} == {records.scalar, records.epoch}
    assert len(header.file_descriptor_set) < len(segment.descriptor_sets[0])
    small = SchemaPool()
    small.add(header.file_descriptor_set)
    for entry in header.types:
        assert small.message_class(entry.full_name).DESCRIPTOR.full_name == entry.full_name
    small.message_class("esper_telemetry.v1.Context")
    assert "esper_telemetry.v1.RunStarted" not in descriptor_files(header.file_descriptor_set)
