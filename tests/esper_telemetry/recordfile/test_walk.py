from __future__ import annotations

import random

import pytest

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.piece import Kind, Piece
from esper_telemetry.recordfile.source import BytesSource
from esper_telemetry.recordfile.walk import GrowingWalk, find_pieces, last_commit, read_footer, walk, walk_back


def covered(pieces, start, end) -> bool:
    """Tell whether `pieces` stand side by side from `start` to `end`."""
    places = [start, *(piece.end for piece in pieces)]
    return places[-1] == end and all(piece.offset == place for piece, place in zip(pieces, places, strict=False))


class Growing(BytesSource):
    """A file that is written byte by byte."""

    def __init__(self) -> None:
        super().__init__(b"")

    def append(self, data: bytes) -> None:
        self._data += data


def files(records, small_types) -> dict[str, bytes]:
    """Return a file of each shape, small enough for every prefix of it."""
    whole = records.bytes(frames=2, per_frame=3, types=small_types)
    skip = layout.pack_skip(layout.Skip(7, 9, 1))
    foreign = layout.SKIPPABLE_HEADER.pack(b"\x50\x2a\x4d\x18", 5) + b"other"
    return {
        "closed": whole,
        "two joined": whole + records.bytes(frames=1, per_frame=2, types=small_types, file_id=bytes(16)),
        "with a skip marker and a foreign frame": records.bytes(2, 3, close=False, types=small_types) + skip + foreign,
        "without a frame": records.bytes(frames=0, types=small_types),
    }


@pytest.mark.parametrize("name", ["closed", "two joined", "with a skip marker and a foreign frame", "without a frame"])
def test_every_prefix_of_a_file_gives_its_whole_pieces_and_the_cut_one_as_tail(records, small_types, name):
    data = files(records, small_types)[name]
    whole = list(walk(BytesSource(data)))
    assert covered(whole, 0, len(data))
    assert {piece.kind for piece in whole}.isdisjoint({Kind.DAMAGE, Kind.TAIL})
    for cut in range(len(data) + 1):
        expected = [piece for piece in whole if piece.end <= cut]
        reached = expected[-1].end if expected else 0
        tail = [Piece(Kind.TAIL, reached, cut)] if reached < cut else []
        assert list(walk(BytesSource(data[:cut]))) == list(walk(BytesSource(data), end=cut)) == expected + tail
        assert list(walk(BytesSource(data[:cut]), reached)) == tail


@pytest.mark.parametrize("name", ["closed", "two joined", "with a skip marker and a foreign frame", "without a frame"])
def test_a_growing_file_gives_each_piece_once_and_as_soon_as_it_is_whole(records, small_types, name):
    data = files(records, small_types)[name]
    source, found = Growing(), []
    growing = GrowingWalk(source)
    for cut in range(len(data)):
        assert growing.next() is None
        source.append(data[cut : cut + 1])
        piece = growing.next()
        if piece is not None:
            assert piece.end == growing.at == cut + 1
            found.append(piece)
    assert found == list(walk(BytesSource(data)))
    assert growing.next(final=True) is None


def test_a_growing_file_shows_damage_only_before_something_valid_or_at_its_final_end(records):
    data = records.bytes(frames=2, close=False)
    frames = [piece for piece in walk(BytesSource(data)) if piece.kind is Kind.DATA]
    source = Growing()
    source.append(data[: frames[0].offset] + b"????" + data[frames[0].offset + 4 : frames[1].offset - 64])
    growing = GrowingWalk(source)
    before = [growing.next().kind for _ in range(3)]
    assert before == [Kind.PROLOGUE, Kind.HEADER, Kind.PARITY]
    assert growing.next() is None
    damage = growing.next(final=True)
    assert (damage.kind, damage.end) == (Kind.DAMAGE, source.size)
    growing.back_to(damage.offset)
    source.append(data[frames[1].offset - 64 :])
    assert [growing.next().kind, growing.next().kind, growing.next()] == [Kind.DAMAGE, Kind.DATA, None]


def test_the_footer_the_walk_and_the_scan_see_the_same_pieces(records):
    data = records.bytes(frames=4)
    by_footer = walk_back(BytesSource(data), len(data))
    forwards = list(walk(BytesSource(data)))
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
    frames = [piece for piece in walk(BytesSource(bytes(data))) if piece.kind is Kind.DATA]
    data[frames[1].offset : frames[1].offset + 4] = b"????"
    kinds = [piece.kind for piece in walk(BytesSource(bytes(data)))]
    assert kinds == [Kind.PROLOGUE, Kind.HEADER, Kind.PARITY, Kind.DATA, Kind.DAMAGE, Kind.DATA, Kind.DATA]


def test_a_surviving_descriptor_names_the_damaged_frame(records):
    data = bytearray(records.bytes(frames=2, per_frame=40, close=False))
    last = [piece for piece in walk(BytesSource(bytes(data))) if piece.kind is Kind.DATA][-1]
    data[last.offset : last.offset + 10] = bytes(10)
    damage = list(walk(BytesSource(bytes(data))))[-1]
    assert damage.kind is Kind.DAMAGE
    assert (damage.descriptor.first_seq, damage.descriptor.last_seq) == (41, 80)


def test_the_scan_goes_on_at_a_footer_behind_damage(records):
    data = bytearray(records.bytes(frames=2))
    last = [piece for piece in walk(BytesSource(bytes(data))) if piece.kind is Kind.DATA][-1]
    data[last.end - 64 : last.end] = bytes(64)
    kinds = [piece.kind for piece in walk(BytesSource(bytes(data)))]
    assert kinds == [Kind.PROLOGUE, Kind.HEADER, Kind.PARITY, Kind.DATA, Kind.DAMAGE, Kind.SEEK_TABLE]


def test_a_forged_length_does_not_swallow_what_follows(records):
    data = bytearray(records.bytes(frames=3, close=False))
    at = next(piece for piece in walk(BytesSource(bytes(data))) if piece.kind is Kind.DATA).end
    data[at:at] = layout.SKIPPABLE_HEADER.pack(layout.OUR_MAGIC, 1 << 20) + b"EIDX"
    kinds = [piece.kind for piece in walk(BytesSource(bytes(data)))]
    assert kinds == [Kind.PROLOGUE, Kind.HEADER, Kind.PARITY, Kind.DATA, Kind.DAMAGE, Kind.DATA, Kind.DATA]


def test_a_file_larger_than_the_window_of_the_scan_is_found_whole(records):
    data = records.bytes(frames=1, close=False)
    frame = list(walk(BytesSource(data)))[-1]
    many = data + data[frame.offset : frame.end] * 6000
    assert len(many) > 5 << 20
    pieces = list(walk(BytesSource(many)))
    assert covered(pieces, 0, len(many))
    assert len(pieces) == 6004
