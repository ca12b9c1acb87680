import hashlib

from google.protobuf import descriptor_pb2

from esper_telemetry.schema.fingerprint import merged_header, schema_fingerprint
from esper_telemetry.v1 import record_pb2


def descriptor_set(*names):
    files = [descriptor_pb2.FileDescriptorProto(name=name) for name in names]
    return descriptor_pb2.FileDescriptorSet(file=files).SerializeToString()


def header(*types, descriptors=b"", **fields):
    entries = [record_pb2.TypeEntry(type_id=number, full_name=name) for number, name in types]
    return record_pb2.Header(types=entries, file_descriptor_set=descriptors, **fields)


def test_the_fingerprint_is_the_one_that_the_protocol_describes():
    written = b"\x01\0\0\0\x03\0\0\0a.A" + b"\x02\0\0\0\x03\0\0\0b.B" + b"files"
    assert schema_fingerprint(header((2, "b.B"), (1, "a.A"), descriptors=b"files")) == hashlib.sha256(written).digest()


def test_only_types_and_descriptors_count():
    plain = header((1, "a.A"), descriptors=b"files")
    other_file = header((1, "a.A"), descriptors=b"files", file_id=b"x" * 16, segment=7, host="elsewhere")
    assert schema_fingerprint(plain) == schema_fingerprint(other_file)
    assert schema_fingerprint(plain) != schema_fingerprint(header((1, "a.B"), descriptors=b"files"))
    assert schema_fingerprint(plain) != schema_fingerprint(header((2, "a.A"), descriptors=b"files"))
    assert schema_fingerprint(plain) != schema_fingerprint(header((1, "a.A"), descriptors=b"other"))


def test_names_cannot_borrow_bytes_from_each_other():
    assert schema_fingerprint(header((1, "ab"))) != schema_fingerprint(header((1, "a"), descriptors=b"b"))


def test_merging_keeps_each_file_once_in_order_of_appearance():
    first = header((1, "a.A"), host="h")
    merged = merged_header(first, [descriptor_set("x", "a"), descriptor_set("a", "b")])
    files = descriptor_pb2.FileDescriptorSet.FromString(merged.file_descriptor_set).file
    assert [file.name for file in files] == ["x", "a", "b"]
    assert merged.host == "h"
    assert list(merged.types) == list(first.types)
    assert not first.file_descriptor_set, "the header that was given stays as it is"


def test_merging_one_set_leaves_the_fingerprint_of_the_file():
    descriptors = descriptor_set("a", "b")
    one = header((1, "a.A"), descriptors=descriptors)
    assert schema_fingerprint(merged_header(one, [descriptors])) == schema_fingerprint(one)
