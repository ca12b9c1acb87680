"""What a gateway packs, a consumer unpacks: byte for byte, or not at all."""

import re
import string
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.collector.frame_check import FrameCheck, Validation
from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.schema_check import SchemaCheck
from esper_telemetry.errors import RecordError
from esper_telemetry.jetstream.deployment import Names
from esper_telemetry.jetstream.entries import (
    LEAST_PAYLOAD,
    Open,
    SessionId,
    bucket_key,
    entry_for,
    frame_entry,
    packed_schema,
    packed_skip,
    partition_of,
    unpack_entry,
    unpack_schema,
)
from esper_telemetry.recordfile.frame import FrameDecoder, FrameEncoder
from esper_telemetry.recordfile.layout import DESCRIPTOR_BYTES, MAX_FRAME_BYTES, Descriptor, Skip
from esper_telemetry.schema.envelope import encode_varint
from esper_telemetry.storage.engine import PutFrame, PutSkip, Seal
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.v1 import log_pb2
from tests.esper_telemetry.collector.publisher import Produced

SESSION = SessionId(3, (1 << 64) - 1)
NAMES = st.text(string.ascii_letters + string.digits + "_+=@,~.-", min_size=1, max_size=128)
KEYS = st.builds(ProducerKey, NAMES, st.binary(min_size=16, max_size=16))


@pytest.fixture
def produced():
    return Produced(frames=2)


def key_of(produced) -> ProducerKey:
    return ProducerKey(produced.run_id, produced.producer_id)


def put_frame(produced, number=0) -> PutFrame:
    check = FrameCheck(CollectorLimits(), Validation.OFF, FrameDecoder())
    return PutFrame(produced.raw[number], check.check(produced.batches[number], produced.raw[number]))


SAMPLE = Produced(frames=1)
PAYLOAD = SAMPLE.raw[0]
ENTRY = frame_entry(key_of(SAMPLE), SESSION, put_frame(SAMPLE), SAMPLE.schema.fingerprint)


def test_a_frame_comes_out_as_it_went_in(produced):
    data = frame_entry(key_of(produced), SESSION, put_frame(produced, 1), produced.schema.fingerprint)
    arrival = unpack_entry(data, FrameDecoder())
    assert arrival.content == put_frame(produced, 1)
    assert (arrival.key, arrival.session) == (key_of(produced), SESSION)
    assert (arrival.first_seq, arrival.last_seq, arrival.fingerprint) == (26, 50, produced.schema.fingerprint)


def by_protobuf(key: ProducerKey, put: PutFrame, fingerprint: bytes) -> log_pb2.LogEntry:
    entry = entry_for(key, SESSION)
    entry.frame.CopyFrom(
        log_pb2.LogFrame(schema_fingerprint=fingerprint, crc32=crc32(put.payload), payload=bytes(put.payload))
    )
    return entry


@given(KEYS, st.binary(min_size=1, max_size=300), st.binary(max_size=40))
def test_the_entry_of_a_frame_has_the_bytes_that_protobuf_makes(key, payload, fingerprint):
    put = PutFrame(payload, Descriptor(0, 0, 1, 1, 1, 1, 0, 0))
    assert frame_entry(key, SESSION, put, fingerprint) == by_protobuf(key, put, fingerprint).SerializeToString()


@given(KEYS, st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1), st.sampled_from([b"", b"f", b"f" * 32]))
def test_whoever_sends_it_an_entry_is_read_as_protobuf_reads_it(key, epoch, nonce, fingerprint):
    data = frame_entry(key, SessionId(epoch, nonce), put_frame(SAMPLE), fingerprint)
    entry = log_pb2.LogEntry.FromString(data)
    for _ in range(2):  # the second time its first fields are remembered
        arrival = unpack_entry(data, FrameDecoder())
        assert arrival.key == (entry.run_id, entry.producer_id)
        assert arrival.session == (entry.session_epoch, entry.session_nonce)
        assert (arrival.content.payload, arrival.fingerprint) == (entry.frame.payload, entry.frame.schema_fingerprint)


def test_a_payload_is_not_copied_out_of_its_message(produced):
    data = frame_entry(key_of(produced), SESSION, put_frame(produced), b"f" * 32)
    payload = unpack_entry(data, FrameDecoder()).content.payload
    assert isinstance(payload, memoryview)
    assert payload.obj is data


@given(st.data())
def test_an_entry_that_is_cut_or_changed_anywhere_is_refused_or_read_by_its_checksums(data):
    produced = ENTRY
    spoiled = bytearray(produced)
    for _ in range(data.draw(st.integers(1, 3))):
        spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
    spoiled = bytes(spoiled[: data.draw(st.integers(1, len(spoiled)))])
    try:
        arrival = unpack_entry(spoiled, FrameDecoder())
    except RecordError:
        return
    if isinstance(arrival.content, PutFrame):
        assert bytes(arrival.content.payload) == PAYLOAD, "a checksum covers every byte of it"


@pytest.mark.parametrize("first", ["payload", "the other fields"])
def test_the_order_of_fields_does_not_matter(produced, first):
    put = put_frame(produced)
    payload = log_pb2.LogFrame(payload=put.payload).SerializeToString()
    rest = log_pb2.LogFrame(schema_fingerprint=b"f" * 32, crc32=crc32(put.payload)).SerializeToString()
    frame = payload + rest if first == "payload" else rest + payload
    head = entry_for(key_of(produced), SESSION).SerializeToString()
    inner = b"\x3a" + encode_varint(len(frame)) + frame
    for data in (head + inner, inner + head):
        arrival = unpack_entry(data, FrameDecoder())
        assert (arrival.key, arrival.content, arrival.fingerprint) == (key_of(produced), put, b"f" * 32)


def test_a_schema_comes_out_as_it_went_in(produced):
    put = SchemaCheck(CollectorLimits()).check(produced.schema, key_of(produced))
    entry = entry_for(key_of(produced), SESSION)
    entry.schema.CopyFrom(packed_schema(put, FrameEncoder(3)))
    arrival = unpack_entry(entry.SerializeToString(), FrameDecoder())
    assert arrival.content == put
    assert arrival.fingerprint == produced.schema.fingerprint
    assert unpack_schema(entry.schema.SerializeToString(), FrameDecoder()) == put


def test_skip_seal_and_open_come_out_as_they_went_in(produced):
    def through(entry):
        return unpack_entry(entry.SerializeToString(), FrameDecoder())

    entry = entry_for(key_of(produced), SESSION)
    put = PutSkip(Skip(5, 9, 77))  # a reason that this version does not know
    entry.skip.CopyFrom(packed_skip(put))
    assert through(entry)[2:] == (put, b"", 5, 9)
    entry.seal.CopyFrom(log_pb2.LogSeal(final_seq=9))
    assert through(entry)[2:] == (Seal(), b"", 0, 9)
    entry.open.SetInParent()
    assert through(entry)[2:] == (Open(), b"", 0, 0)


def test_a_damaged_entry_is_told(produced):
    entry = entry_for(key_of(produced), SESSION)
    decoder = FrameDecoder()
    for data in (b"\xff\xff", b"", entry.SerializeToString()):
        with pytest.raises(RecordError):
            unpack_entry(data, decoder)
    entry = by_protobuf(key_of(produced), put_frame(produced), b"f" * 32)
    entry.frame.crc32 ^= 1
    with pytest.raises(RecordError, match="CRC-32"):
        unpack_entry(entry.SerializeToString(), decoder)
    entry.frame.payload = entry.frame.payload[:-1]
    entry.frame.crc32 = crc32(entry.frame.payload)
    with pytest.raises(RecordError, match="descriptor"):
        unpack_entry(entry.SerializeToString(), decoder)
    entry.schema.CopyFrom(log_pb2.LogSchema(header_frame=b"\x28\xb5\x2f\xfd", raw_len=1 << 31))
    with pytest.raises(RecordError, match="over the limit"):
        unpack_entry(entry.SerializeToString(), decoder)
    with pytest.raises(RecordError, match="LogSchema"):
        unpack_schema(b"\xff\xff", decoder)


def test_the_longest_frame_of_the_longest_run_id_fits_into_a_message_of_a_server_as_it_comes():
    key = ProducerKey("r" * 128, b"p" * 16)
    desc = Descriptor(MAX_FRAME_BYTES, 0, 1, 1, 1, 0, 0, 0)
    put = PutFrame(bytes(MAX_FRAME_BYTES + DESCRIPTOR_BYTES), desc)
    longest = SessionId((1 << 64) - 1, (1 << 64) - 1)
    assert len(frame_entry(key, longest, put, b"f" * 32)) < LEAST_PAYLOAD


@given(KEYS, st.integers(1, 64))
def test_a_partition_follows_from_the_identity(key, partitions):
    assert partition_of(key, partitions) == crc32(key.run_id.encode() + key.producer_id) % partitions


@given(KEYS, KEYS)
def test_names_in_the_bucket_are_allowed_ones_and_differ(one, other):
    assert re.fullmatch(r"[-/_=.a-zA-Z0-9]+", bucket_key("state", one))
    assert (bucket_key("state", one) == bucket_key("state", other)) == (one == other)
    assert bucket_key("state", one) != bucket_key("schema", one)


def test_the_names_of_a_deployment_start_with_its_name():
    names = Names("night")
    assert (names.stream, names.bucket) == ("night-log", "night-state")
    assert (names.partition(3), names.durable("*"), names.consumers) == (
        "night.log.3",
        "night.durable.*",
        "night.consumers",
    )
