import pytest
from google.protobuf import descriptor_pb2

from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.collector.schema_check import SchemaCheck
from esper_telemetry.schema.fingerprint import schema_fingerprint
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.v1 import collector_pb2
from tests.esper_telemetry.collector.publisher import RUN_ID, Produced


@pytest.fixture(scope="module")
def produced():
    return Produced(frames=1)


def changed(produced, change) -> collector_pb2.Schema:
    """Return the schema with a changed header and the fingerprint of that."""
    schema = collector_pb2.Schema()
    schema.CopyFrom(produced.schema)
    change(schema.header)
    schema.fingerprint = schema_fingerprint(schema.header)
    return schema


def key(produced) -> ProducerKey:
    return ProducerKey(produced.run_id, produced.producer_id)


def test_what_is_stored_is_the_header_with_its_descriptors_apart(produced):
    put = SchemaCheck(CollectorLimits()).check(produced.schema, key(produced))
    assert put.descriptors == produced.schema.header.file_descriptor_set
    assert not put.header.file_descriptor_set
    put.header.file_descriptor_set = put.descriptors
    assert put.header == produced.schema.header


def test_producers_of_one_schema_share_its_descriptors(produced):
    check = SchemaCheck(CollectorLimits())
    other = Produced(frames=1)
    one = check.check(produced.schema, key(produced))
    assert one.descriptors is check.check(other.schema, key(other)).descriptors


def test_a_schema_of_somebody_else_is_refused(produced):
    strangers = {
        f"of producer {produced.producer_id.hex()}, the Hello of {'78' * 16}": ProducerKey(RUN_ID, b"x" * 16),
        f"of run '{RUN_ID}', the Hello of 'another'": ProducerKey("another", produced.producer_id),
    }
    for said, other in strangers.items():
        with pytest.raises(Refused, match=said) as caught:
            SchemaCheck(CollectorLimits()).check(produced.schema, other)
        assert caught.value.reason == "SCHEMA_INVALID"


def test_a_forged_fingerprint_is_refused(produced):
    schema = collector_pb2.Schema(fingerprint=b"x" * 32, header=produced.schema.header)
    with pytest.raises(Refused, match="fingerprint"):
        SchemaCheck(CollectorLimits()).check(schema, key(produced))


def undeclared(header):
    header.types.add(type_id=9, full_name="acme.v1.Nowhere")


def twice(header):
    header.types.add(type_id=1, full_name="acme.v1.Other")


def garbage(header):
    header.file_descriptor_set = b"\xff garbage"


def missing_import(header):
    file = descriptor_pb2.FileDescriptorProto(name="a.proto", dependency=["nowhere.proto"])
    header.file_descriptor_set = descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()


def newer(header):
    header.format_major = 2


def hostile_stream(header):
    header.stream = "../../x"


@pytest.mark.parametrize("change", [undeclared, twice, garbage, missing_import, newer, hostile_stream])
def test_a_schema_that_no_reader_could_use_is_refused(produced, change):
    with pytest.raises(Refused) as caught:
        SchemaCheck(CollectorLimits()).check(changed(produced, change), key(produced))
    assert caught.value.reason == "SCHEMA_INVALID"


def test_a_schema_over_the_limit_is_too_big(produced):
    with pytest.raises(Refused) as caught:
        SchemaCheck(CollectorLimits(schema_bytes=1000)).check(produced.schema, key(produced))
    assert caught.value.reason == "TOO_BIG"
