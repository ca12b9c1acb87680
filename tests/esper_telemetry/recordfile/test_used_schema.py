from __future__ import annotations

from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.header import descriptor_files
from esper_telemetry.recordfile.used_schema import header_of_used
from esper_telemetry.schema.descriptors import SchemaPool


def test_types_that_no_event_has_are_left_out_with_what_only_they_need(records):
    with RecordReader(records.bytes()) as reader:
        (segment,) = reader.segments
    del segment.index.type_counts[records.epoch]  # as what `filter` leaves of it
    segment.index.type_counts[records.scalar] = segment.records
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
    assert not any(name.endswith("EpochCompleted") for name in descriptor_files(header.file_descriptor_set))
