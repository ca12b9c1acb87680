import os
import zlib

import pytest

from esper_telemetry.recordfile import Skip, SkipReason
from esper_telemetry.recordfile.layout import DESCRIPTOR_BYTES, Descriptor, parse_descriptor
from esper_telemetry.uplink.segment_frames import Frame
from esper_telemetry.uplink.terms import BatchesMessage, WelcomeLimits, batch_message, skip_message, wire_bytes
from esper_telemetry.v1 import collector_pb2


def test_a_batch_says_what_its_descriptor_says(producer, kit):
    producer.write(frames=2, last_seq=None).close()
    for frame in kit.drain(producer.spool()):
        batch = collector_pb2.ClientMessage.FromString(wire_bytes(batch_message(frame))).batch
        desc = parse_descriptor(batch.payload[-DESCRIPTOR_BYTES:])
        assert (batch.first_seq, batch.last_seq) == (desc.first_seq, desc.last_seq)
        assert (batch.count, batch.raw_len) == (desc.records, desc.raw_size)
        assert batch.crc32 == zlib.crc32(frame.payload)
        assert batch.payload == frame.payload


@pytest.mark.parametrize("size", [1, 127, 128, 16_383, 16_384, 1_000_000])
def test_the_bytes_of_a_batch_are_those_that_protobuf_makes(size):
    payload = os.urandom(size)
    desc = Descriptor(size, 3 * size, 5, 1, 2**40, 2**40 + 7, 1, 2)
    message = batch_message(Frame(desc, memoryview(payload), None))
    whole = collector_pb2.ClientMessage(batch=message.batch)
    whole.batch.payload = payload
    assert wire_bytes(message) == whole.SerializeToString(deterministic=True)


@pytest.mark.parametrize("sizes", [[1], [127, 128], [16_383, 1, 16_384]])
def test_the_bytes_of_several_batches_are_those_that_protobuf_makes(sizes):
    messages, whole = [], collector_pb2.ClientMessage()
    for number, size in enumerate(sizes):
        payload = os.urandom(size)
        desc = Descriptor(size, 3 * size, 5, 1, 2**40 + number, 2**40 + number, 1, 2)
        messages.append(batch_message(Frame(desc, memoryview(payload), None)))
        whole.batches.batches.append(messages[-1].batch)
        whole.batches.batches[-1].payload = payload
    assert wire_bytes(BatchesMessage(messages)) == whole.SerializeToString(deterministic=True)


def test_other_messages_are_sent_as_they_are():
    message = collector_pb2.ClientMessage(skip=skip_message(Skip(3, 9, SkipReason.CORRUPT)))
    assert collector_pb2.ClientMessage.FromString(wire_bytes(message)) == message


def test_what_a_welcome_leaves_out_is_as_in_the_protocol():
    limits = WelcomeLimits.of(collector_pb2.StreamLimits(window_frames=7))
    assert limits == WelcomeLimits(window_frames=7)
    assert WelcomeLimits.of(collector_pb2.StreamLimits()) == WelcomeLimits()


def test_the_limits_are_those_the_real_collector_names():
    from esper_telemetry.collector.limits import CollectorLimits

    theirs = WelcomeLimits.of(CollectorLimits().to_proto())
    assert (theirs.frame_bytes, theirs.raw_bytes) == (WelcomeLimits().frame_bytes, WelcomeLimits().raw_bytes)
    assert (theirs.window_bytes, theirs.window_frames) == (WelcomeLimits().window_bytes, WelcomeLimits().window_frames)


def test_a_skip_keeps_its_reason():
    for reason in SkipReason:
        message = skip_message(Skip(3, 9, reason))
        assert (message.first_seq, message.last_seq, message.reason) == (3, 9, reason)
        assert collector_pb2.SkipReason.Name(message.reason) == f"SKIP_REASON_{reason.name}"
