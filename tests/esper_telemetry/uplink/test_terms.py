import zlib

from esper_telemetry.recordfile import Skip, SkipReason
from esper_telemetry.recordfile.layout import DESCRIPTOR_BYTES, parse_descriptor
from esper_telemetry.uplink.terms import Limits, batch_message, skip_message
from esper_telemetry.v1 import collector_pb2


def test_a_batch_says_what_its_descriptor_says(producer, kit):
    producer.write(frames=2, last_seq=None).close()
    for frame in kit.drain(producer.spool()):
        batch = batch_message(frame).batch
        desc = parse_descriptor(batch.payload[-DESCRIPTOR_BYTES:])
        assert (batch.first_seq, batch.last_seq) == (desc.first_seq, desc.last_seq)
        assert (batch.count, batch.raw_len) == (desc.records, desc.raw_size)
        assert batch.crc32 == zlib.crc32(frame.payload)
        assert batch.payload == frame.payload


def test_what_a_welcome_leaves_out_is_as_in_the_protocol():
    limits = Limits.of(collector_pb2.StreamLimits(window_frames=7))
    assert limits == Limits(window_frames=7)
    assert Limits.of(collector_pb2.StreamLimits()) == Limits()


def test_the_limits_are_those_the_real_collector_names():
    from esper_telemetry.collector.limits import Limits as CollectorLimits

    theirs = Limits.of(CollectorLimits().to_proto())
    assert (theirs.frame_bytes, theirs.raw_bytes) == (Limits().frame_bytes, Limits().raw_bytes)
    assert (theirs.window_bytes, theirs.window_frames) == (Limits().window_bytes, Limits().window_frames)


def test_a_skip_keeps_its_reason():
    for reason in SkipReason:
        message = skip_message(Skip(3, 9, reason))
        assert (message.first_seq, message.last_seq, message.reason) == (3, 9, reason)
        assert collector_pb2.SkipReason.Name(message.reason) == f"SKIP_REASON_{reason.name}"
