import hashlib
import struct

from esper_telemetry.recordfile import RecordReader
from esper_telemetry.uplink.schema import fingerprint, merge_headers
from esper_telemetry.v1 import record_pb2


def test_the_fingerprint_is_the_one_the_protocol_describes():
    header = record_pb2.Header(file_descriptor_set=b"descriptors")
    header.types.add(type_id=2, full_name="b.Second")
    header.types.add(type_id=1, full_name="a.First")
    expected = b""
    for number, name in ((1, b"a.First"), (2, b"b.Second")):
        expected += struct.pack("<II", number, len(name)) + name
    assert fingerprint(header) == hashlib.sha256(expected + b"descriptors").digest()


def test_nothing_but_types_and_descriptors_is_in_the_fingerprint():
    one = record_pb2.Header(run_id="a", host="x", segment=1)
    other = record_pb2.Header(run_id="b", host="y", segment=7)
    assert fingerprint(one) == fingerprint(other)


def test_merged_headers_hold_what_the_file_declares(producer, kit):
    producer.write().sink.write(kit.batch(11, 5, new_types=[(2, kit.epoch)]))
    producer.close()
    with RecordReader(producer.sink.path) as reader:
        segment = reader.segments[0]
        further = record_pb2.Header(file_descriptor_set=b"".join(segment.descriptor_sets))
        further.types.extend(segment.header.types)
    spool = producer.spool()
    first = spool.schema
    frames = kit.drain(spool)
    assert frames[0].schema == first
    assert frames[1].schema.fingerprint == fingerprint(further) != first.fingerprint
    assert {entry.type_id: entry.full_name for entry in frames[1].schema.header.types} == reader.types


def test_a_single_header_is_its_own_merge():
    header = record_pb2.Header(run_id="a", file_descriptor_set=b"x")
    assert merge_headers([header]).header == header
