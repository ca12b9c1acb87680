from __future__ import annotations

import pytest

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.piece import Kind, piece_at


def pieces(data: bytes) -> list:
    found, at = [], 0
    while at < len(data):
        piece = piece_at(data, at)
        assert piece is not None
        found.append(piece)
        at = piece.end
    return found


def test_a_file_is_a_row_of_pieces(records):
    data = records.bytes(frames=2)
    kinds = [piece.kind for piece in pieces(data)]
    assert kinds == [Kind.PROLOGUE, Kind.HEADER, Kind.PARITY, Kind.DATA, Kind.DATA, Kind.INDEX, Kind.SEEK_TABLE]


def test_every_prefix_of_every_piece_needs_more(records, small_types):
    data = records.bytes(frames=2, types=small_types) + layout.pack_skip(layout.Skip(1, 2, 0))
    for piece in pieces(data):
        for cut in range(piece.offset + 1, piece.end):
            assert piece_at(data[:cut], piece.offset) is None, (piece.kind, cut)


def test_places_count_from_the_start_of_the_file(records):
    data = records.bytes(frames=1)
    frame = pieces(data)[2]
    assert piece_at(data[frame.offset :], 0, frame.offset) == frame


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"nothing here", "no piece of a record starts with 6e 6f 74 68"),
        (b"\x28\xb5x", "starts with 28 b5 78"),
        (layout.DESCRIPTOR_START + bytes(52), "without its frame"),
        (b"\x57\x2a\x4d\x18\xff\xff\xff\xff????", "over every limit"),
    ],
)
def test_what_starts_no_piece_is_refused(data, message):
    with pytest.raises(CorruptRecordError, match=message):
        piece_at(data)
