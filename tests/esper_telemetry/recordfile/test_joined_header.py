from __future__ import annotations

import esper_telemetry as et
from esper.v1 import seed_pb2
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.header import descriptor_files
from esper_telemetry.recordfile.joined_header import joined_header
from esper_telemetry.schema.descriptors import SchemaPool


def test_the_headers_of_a_segment_become_one_that_declares_what_they_did(tmp_path):
    options = et.RecordOptions(compact=False)
    with et.start_run(tmp_path, name="x", schemas=[seed_pb2], record=options) as run:
        run.emit(et.events.ScalarLogged, name="a", value=1.0)
    with RecordReader(run.paths[0]) as reader:
        (segment,) = reader.segments
    assert len(segment.headers) > 1
    pool = SchemaPool()
    for one in segment.descriptor_sets:
        pool.add(one)
    header = joined_header(segment, pool)
    assert {entry.type_id: entry.full_name for entry in header.types} == segment.types
    assert {"esper.v1.SeedFossilized", "esper_telemetry.v1.ScalarLogged"} <= set(segment.types.values())
    small = SchemaPool()
    small.add(header.file_descriptor_set)
    for entry in header.types:
        assert small.message_class(entry.full_name).DESCRIPTOR.full_name == entry.full_name
    small.message_class("esper_telemetry.v1.Context")
    assert not any(name.endswith("EpochCompleted") for name in descriptor_files(header.file_descriptor_set))
