"""Which segments belong to which stream, and readers that do not outlive them."""

from __future__ import annotations

import pytest

from esper_telemetry.decode.faults import Faults
from esper_telemetry.decode.streams import OpenReaders, by_stream, ordered_segments


@pytest.fixture
def places(write_record, scalars, tmp_path):
    """Two streams in three files: the last file holds a segment of each."""
    a, b = b"a" * 16, b"b" * 16
    paths = [
        write_record(scalars(2), path=tmp_path / "1", producer_id=b, rank=1, segment=1),
        write_record(scalars(2), path=tmp_path / "2", producer_id=a, rank=0, segment=2, first_seq=3),
        write_record(scalars(2), path=tmp_path / "3", producer_id=a, rank=0, segment=1),
        write_record(scalars(2), path=tmp_path / "4", producer_id=b, rank=1, segment=2, first_seq=3),
    ]
    both = tmp_path / "34"
    both.write_bytes(paths[2].read_bytes() + paths[3].read_bytes())
    return ordered_segments([paths[0], paths[1], both])


def test_segments_are_ordered_by_stream_and_number_wherever_they_are(places):
    assert [(place.header.rank, place.header.segment, place.path.name, place.number) for place in places] == [
        (0, 1, "34", 0),
        (0, 2, "2", 0),
        (1, 1, "1", 0),
        (1, 2, "34", 1),
    ]
    assert [len(stream) for stream in by_stream(places)] == [2, 2]
    assert [place.events for place in places] == [2, 2, 2, 2]


def test_a_file_is_opened_once_and_closed_after_its_last_segment(places):
    readers = OpenReaders(places, Faults(strict=True))
    both = places[0].path
    reader = readers.take(both)
    assert readers.take(both) is reader
    readers.give_back(both)
    assert reader._source.size > 0, "one of its segments is still to be read"
    readers.give_back(both)
    with pytest.raises(ValueError, match="closed"):
        _ = reader._source.size


def test_closing_lets_go_of_what_is_open(places):
    readers = OpenReaders(places, Faults(strict=True))
    reader = readers.take(places[1].path)
    readers.close()
    with pytest.raises(ValueError, match="closed"):
        _ = reader._source.size
