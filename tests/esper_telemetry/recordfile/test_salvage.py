from __future__ import annotations

from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.piece import Kind
from esper_telemetry.recordfile.salvage import REBUILT, salvage
from esper_telemetry.recordfile.source import BytesSource
from esper_telemetry.recordfile.walk import walk


def salvaged(data: bytes) -> list:
    source = BytesSource(data)
    return list(salvage(source, FrameDecoder(), walk(source)))


def test_a_frame_whose_descriptor_is_gone_is_found_with_one_made_from_its_events(records):
    data = bytearray(records.bytes(frames=3, per_frame=10, close=False))
    frame = list(RecordReader(bytes(data)).frames())[1]
    data[frame.end - 64 : frame.end] = bytes(64)
    pieces = salvaged(bytes(data))
    assert [piece.kind for piece in pieces] == [Kind.PROLOGUE, Kind.HEADER, Kind.PARITY, *[Kind.DATA] * 3]
    assert pieces[4].reason == REBUILT
    assert pieces[4].descriptor == frame.descriptor


def test_a_header_whose_descriptor_is_gone_is_found(records):
    data = bytearray(records.bytes(frames=1, close=False))
    ((offset, desc),) = RecordReader(bytes(data)).segments[0].headers
    data[offset + desc.compressed_size + 50] ^= 1
    pieces = salvaged(bytes(data))
    assert [piece.kind for piece in pieces] == [Kind.PROLOGUE, Kind.HEADER, Kind.DAMAGE, Kind.DATA]
    assert pieces[1].descriptor.records == 0


def test_a_tail_that_is_whole_but_not_committed_is_found(records):
    data = records.bytes(frames=2, per_frame=10, close=False)
    pieces = salvaged(data[:-30])
    assert pieces[-1].kind is Kind.DATA
    assert pieces[-1].reason == REBUILT


def test_what_does_not_decompress_stays_damage(records):
    data = bytearray(records.bytes(frames=2, per_frame=10, close=False))
    frame = next(RecordReader(bytes(data)).frames())
    data[frame.offset + 20 : frame.end] = bytes(frame.end - frame.offset - 20)
    pieces = salvaged(bytes(data))
    assert Kind.DAMAGE in {piece.kind for piece in pieces}
    assert [piece.offset for piece in pieces[1:]] == [piece.end for piece in pieces[:-1]]


def test_bytes_that_look_like_a_frame_do_not_hide_the_one_behind_them(records):
    data = bytearray(records.bytes(frames=4, per_frame=10, close=False))
    first, second, *_ = RecordReader(bytes(data)).frames()
    data[first.offset + 4 : first.end] = (b"\x28\xb5\x2f\xfd" * first.end)[: first.end - first.offset - 4]
    data[second.end - 64 : second.end] = bytes(64)
    found = [piece for piece in salvaged(bytes(data)) if piece.reason == REBUILT]
    assert [(piece.descriptor.first_seq, piece.descriptor.last_seq) for piece in found] == [(11, 20)]
