from __future__ import annotations

import random

import pytest

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.piece import Kind
from esper_telemetry.recordfile.scan import find_pieces, last_commit, read_footer, scan, walk_back
from esper_telemetry.recordfile.source import BytesSource


def covered(pieces, start, end) -> bool:
    """Tell whether `pieces` stand side by side from `start` to `end`."""
    places = [start, *(piece.end for piece in pieces)]
    return places[-1] == end and all(piece.offset == place for piece, place in zip(pieces, places, strict=False))


def test_the_footer_the_walk_and_the_scan_see_the_same_pieces(records):
    data = records.bytes(frames=4)
    by_footer = walk_back(BytesSource(data), len(data))
    forwards = list(scan(BytesSource(data)))
    assert by_footer == forwards
    unclosed = data[: forwards[-2].offset]
    assert walk_back(BytesSource(unclosed), len(unclosed)) == forwards[:-2]


def test_a_footer_is_trusted_only_if_it_reaches_back_to_a_prologue(records):
    data = records.bytes(frames=2)
    assert read_footer(BytesSource(data), len(data)).start == 0
    shifted = b"12345678" + data
    assert read_footer(BytesSource(shifted), len(shifted)).start == 8
    with pytest.raises(CorruptRecordError, match="where no record starts"):
        read_footer(BytesSource(data[:24] + b"x" + data[24:]), len(data) + 1)
    with pytest.raises(CorruptRecordError, match="reaches beyond the start"):
        read_footer(BytesSource(data[-40:]), 40)
    with pytest.raises(CorruptRecordError, match="no seek table ends here"):
        read_footer(BytesSource(data[:-1]), len(data) - 1)


def test_the_last_commit_of_a_cut_file_is_found(records):
    data = records.bytes(frames=3, close=False)
    assert last_commit(BytesSource(data), len(data)) == len(data)
    assert last_commit(BytesSource(data), len(data) - 1) < len(data) - 64
    assert last_commit(BytesSource(data[:200]), 200) == 0


def test_no_mutation_leaves_a_byte_unaccounted_for(records, small_types):
    data = records.bytes(frames=6, per_frame=15, types=small_types)
    rng = random.Random(7)
    for _ in range(400):
        mutated = bytearray(data)
        at = rng.randrange(len(data))
        length = rng.choice((1, 4, 64, 500))
        change = rng.randrange(4)
        if change == 0:
            mutated[at] ^= 1 << rng.randrange(8)
        elif change == 1:
            mutated[at : at + length] = bytes(length)
        elif change == 2:
            del mutated[at : at + length]
        else:
            mutated[at:at] = rng.randbytes(length)
        pieces = find_pieces(BytesSource(bytes(mutated)))
        assert covered(pieces, 0, len(mutated))


def test_the_scan_goes_on_at_the_next_frame_after_damage(records):
    data = bytearray(records.bytes(frames=4, close=False))
    frames = [piece for piece in scan(BytesSource(bytes(data))) if piece.kind is Kind.DATA]
    data[frames[1].offset : frames[1].offset + 4] = b"????"
    kinds = [piece.kind for piece in scan(BytesSource(bytes(data)))]
    assert kinds == [Kind.PROLOGUE, Kind.HEADER, Kind.PARITY, Kind.DATA, Kind.DAMAGE, Kind.DATA, Kind.DATA]


def test_a_surviving_descriptor_names_the_damaged_frame(records):
    data = bytearray(records.bytes(frames=2, per_frame=40, close=False))
    last = [piece for piece in scan(BytesSource(bytes(data))) if piece.kind is Kind.DATA][-1]
    data[last.offset : last.offset + 10] = bytes(10)
    damage = list(scan(BytesSource(bytes(data))))[-1]
    assert damage.kind is Kind.DAMAGE
    assert (damage.descriptor.first_seq, damage.descriptor.last_seq) == (41, 80)


def test_the_scan_goes_on_at_a_footer_behind_damage(records):
    data = bytearray(records.bytes(frames=2))
    last = [piece for piece in scan(BytesSource(bytes(data))) if piece.kind is Kind.DATA][-1]
    data[last.end - 64 : last.end] = bytes(64)
    kinds = [piece.kind for piece in scan(BytesSource(bytes(data)))]
    assert kinds == [Kind.PROLOGUE, Kind.HEADER, Kind.PARITY, Kind.DATA, Kind.DAMAGE, Kind.SEEK_TABLE]


def test_a_forged_length_does_not_swallow_what_follows(records):
    data = bytearray(records.bytes(frames=3, close=False))
    at = next(piece for piece in scan(BytesSource(bytes(data))) if piece.kind is Kind.DATA).end
    data[at:at] = layout.SKIPPABLE_HEADER.pack(layout.OUR_MAGIC, 1 << 20) + b"EIDX"
    kinds = [piece.kind for piece in scan(BytesSource(bytes(data)))]
    assert kinds == [Kind.PROLOGUE, Kind.HEADER, Kind.PARITY, Kind.DATA, Kind.DAMAGE, Kind.DATA, Kind.DATA]


def test_a_file_larger_than_the_window_of_the_scan_is_found_whole(records):
    data = records.bytes(frames=1, close=False)
    frame = list(scan(BytesSource(data)))[-1]
    many = data + data[frame.offset : frame.end] * 6000
    assert len(many) > 5 << 20
    pieces = list(scan(BytesSource(many)))
    assert covered(pieces, 0, len(many))
    assert len(pieces) == 6004
