import random
import struct
from zlib import crc32

import pytest
import zstandard

from esper_telemetry.collector.frame_check import SAMPLED, FrameCheck, Validation
from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.layout import DESCRIPTOR_BYTES, Descriptor, pack_descriptor, parse_descriptor
from esper_telemetry.v1 import collector_pb2
from tests.esper_telemetry.collector.publisher import Produced, element

MODES = list(Validation)


@pytest.fixture(scope="module")
def batch():
    return Produced(frames=1, per_frame=40).batches[0]


def made(raw: bytes, *, records: int, compress=None, **changes) -> collector_pb2.Batch:
    """Return a Batch whose frame holds `raw`; everything else agrees with it unless changed."""
    compress = compress or zstandard.ZstdCompressor(write_checksum=True).compress
    frame = compress(raw)
    desc = Descriptor(len(frame), len(raw), records, 1, 1, records, 0, 0)._replace(**changes)
    payload = frame + pack_descriptor(desc)
    return collector_pb2.Batch(
        first_seq=desc.first_seq, last_seq=desc.last_seq, count=desc.records, raw_len=desc.raw_size,
        crc32=crc32(payload), payload=payload,
    )  # fmt: skip


def refusal(batch, mode=Validation.FULL, limits=None) -> str:
    with pytest.raises(Refused) as caught:
        FrameCheck(limits or CollectorLimits(), mode, FrameDecoder()).check(batch, batch.payload)
    return caught.value.reason


@pytest.mark.parametrize("mode", MODES)
def test_a_frame_as_the_writer_made_it_passes(batch, mode):
    desc = FrameCheck(CollectorLimits(), mode, FrameDecoder()).check(batch, batch.payload)
    assert (desc.first_seq, desc.last_seq, desc.records) == (1, 40, 40)


@pytest.mark.parametrize("mode", MODES)
def test_a_byte_that_changed_on_the_way_is_a_checksum_error(batch, mode):
    rng = random.Random(1)
    for _ in range(200):
        payload = bytearray(batch.payload)
        payload[rng.randrange(len(payload))] ^= 1 << rng.randrange(8)
        changed = collector_pb2.Batch()
        changed.CopyFrom(batch)
        changed.payload = bytes(payload)
        assert refusal(changed, mode) == "CHECKSUM"


def test_a_changed_frame_with_a_forged_crc_is_refused_or_still_holds_the_same_events(batch):
    rng = random.Random(2)
    raw = zstandard.decompress(batch.payload[:-DESCRIPTOR_BYTES])
    accepted, reasons = 0, set()
    for _ in range(500):
        payload = bytearray(batch.payload)
        payload[rng.randrange(len(payload))] ^= 1 << rng.randrange(8)
        forged = collector_pb2.Batch()
        forged.CopyFrom(batch)
        forged.payload = bytes(payload)
        forged.crc32 = crc32(forged.payload)
        try:
            FrameCheck(CollectorLimits(), Validation.FULL, FrameDecoder()).check(forged, forged.payload)
        except Refused as refused:
            reasons.add(refused.reason)
        else:
            assert zstandard.decompress(forged.payload[:-DESCRIPTOR_BYTES]) == raw
            accepted += 1
    assert reasons <= {"FRAME_INVALID", "NUMBERS"}
    assert accepted < 5, "only the unused bit of a zstd frame header may change unseen"


@pytest.mark.parametrize("mode", MODES)
def test_every_cut_of_a_payload_is_refused(batch, mode):
    for size in range(0, len(batch.payload), 7):
        payload = batch.payload[:size]
        cut = collector_pb2.Batch()
        cut.CopyFrom(batch)
        cut.payload, cut.crc32 = payload, crc32(payload)
        assert refusal(cut, mode) == "FRAME_INVALID"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("field", ["first_seq", "last_seq", "count", "raw_len"])
def test_a_message_that_disagrees_with_its_descriptor_is_refused(batch, mode, field):
    forged = collector_pb2.Batch()
    forged.CopyFrom(batch)
    setattr(forged, field, getattr(batch, field) + 1)
    assert refusal(forged, mode) == "FRAME_INVALID"


@pytest.mark.parametrize("mode", MODES)
def test_a_frame_without_a_size_is_refused_before_anything_is_allocated(mode):
    def compress(raw):
        return zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compress(raw)

    assert refusal(made(element(1), records=1, compress=compress), mode) == "FRAME_INVALID"


@pytest.mark.parametrize("mode", MODES)
def test_a_bomb_is_refused_by_what_its_header_says(mode):
    bomb = bytes(256 << 20)
    frame = zstandard.ZstdCompressor(write_checksum=True).compress(bomb)
    assert len(frame) < 64 * 1024
    assert refusal(made(bomb, records=1), mode) == "TOO_BIG"
    # The message and the descriptor lie about the size, the frame does not.
    assert refusal(made(bomb, records=1, raw_size=4096), mode) == "FRAME_INVALID"


def test_a_frame_that_lies_about_its_size_in_its_own_header_is_refused(batch):
    frame = bytearray(batch.payload[:-DESCRIPTOR_BYTES])
    desc = parse_descriptor(batch.payload[-DESCRIPTOR_BYTES:])
    at = frame.index(struct.pack("<H", desc.raw_size - 256), 4)  # Frame_Content_Size of two bytes says size - 256
    frame[at : at + 2] = struct.pack("<H", 100)
    payload = bytes(frame) + pack_descriptor(desc._replace(raw_size=356))
    lying = collector_pb2.Batch()
    lying.CopyFrom(batch)
    lying.payload, lying.crc32, lying.raw_len = payload, crc32(payload), 356
    assert refusal(lying) == "FRAME_INVALID"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("more", [b"x", bytes(64), zstandard.compress(b"more")])
def test_anything_besides_one_frame_and_its_descriptor_is_refused(batch, mode, more):
    for payload in (more + batch.payload, batch.payload + more):
        longer = collector_pb2.Batch()
        longer.CopyFrom(batch)
        longer.payload, longer.crc32 = payload, crc32(payload)
        assert refusal(longer, mode) == "FRAME_INVALID"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param((element(1), {"records": 2, "last_seq": 2}), id="fewer events than counted"),
        pytest.param((element(5), {"records": 1}), id="numbers outside"),
        pytest.param((element(2) + element(1), {"records": 2, "last_seq": 2}), id="numbers not in order"),
        pytest.param((element(1), {"records": 1, "type_mask": 2}), id="other types"),
        pytest.param((b"no protobuf", {"records": 1}), id="no events"),
        pytest.param((b"\x0a\x00" + element(1), {"records": 1}), id="a header inside"),
    ],
)
def test_content_that_contradicts_its_descriptor_is_refused_in_full_validation_only(content):
    raw, changes = content
    changes = {"min_time": 1_760_000_000_000_000_001, "max_time": 1_760_000_000_000_000_001, **changes}
    assert refusal(made(raw, **changes)) == "FRAME_INVALID"
    batch = made(raw, **changes)
    FrameCheck(CollectorLimits(), Validation.OFF, FrameDecoder()).check(batch, batch.payload)


def test_sampling_looks_into_the_first_frame_and_every_sixteenth():
    check = FrameCheck(CollectorLimits(), Validation.SAMPLE, FrameDecoder())
    bad = made(element(5), records=1)
    looked = []
    for number in range(2 * SAMPLED):
        try:
            check.check(bad, bad.payload)
        except Refused:
            looked.append(number)
    assert looked == [0, SAMPLED]


@pytest.mark.parametrize("mode", MODES)
def test_what_is_over_a_negotiated_limit_is_too_big(batch, mode):
    assert refusal(batch, mode, CollectorLimits(frame_bytes=len(batch.payload) - 1)) == "TOO_BIG"
    assert refusal(batch, mode, CollectorLimits(raw_bytes=batch.raw_len - 1)) == "TOO_BIG"


@pytest.mark.parametrize("mode", MODES)
def test_a_header_frame_is_no_batch(mode):
    assert refusal(made(b"\x0a\x00", records=0, last_seq=1), mode) == "NUMBERS"
    batch = made(element(1), records=1)
    batch.codec = 9
    assert refusal(batch, mode) == "FRAME_INVALID"
