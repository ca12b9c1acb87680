"""Which segments belong to which stream, and readers that do not outlive them."""

from __future__ import annotations

import pytest

from esper_telemetry.decode import survey
from esper_telemetry.decode.faults import Faults
from esper_telemetry.decode.streams import OpenReaders, by_stream, frames_once, parts
from esper_telemetry.errors import RecordError
from esper_telemetry.recordfile import RecordReader, Selection, filter_record


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
    return survey([paths[0], paths[1], both]).places


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
    both, other = places[0], places[3]
    reader, segment = readers.take(both)
    assert segment is reader.segments[0]
    assert readers.take(other)[0] is reader
    readers.give_back(both.path)
    assert reader._source.size > 0, "one of its segments is still to be read"
    readers.give_back(both.path)
    with pytest.raises(ValueError, match="closed"):
        _ = reader._source.size


def test_closing_lets_go_of_what_is_open(places):
    readers = OpenReaders(places, Faults(strict=True))
    reader, _ = readers.take(places[1])
    readers.close()
    with pytest.raises(ValueError, match="closed"):
        _ = reader._source.size


def test_a_file_that_is_another_one_now_is_refused(places, write_record, scalars):
    places[2].path.unlink()
    write_record(scalars(1), path=places[2].path, file_id=b"x" * 16)
    with pytest.raises(RecordError, match="replaced by another file"):
        OpenReaders(places, Faults(strict=True)).take(places[2])


def test_segments_with_the_same_numbers_are_one_part_the_fullest_first(write_record, scalars, tmp_path):
    paths = [
        write_record(scalars(2), path=tmp_path / "1", segment=1),
        write_record(scalars(2), scalars(2), path=tmp_path / "1 (copy)", segment=1),
        write_record(scalars(2), path=tmp_path / "2", segment=2, first_seq=5),
        write_record(path=tmp_path / "3", segment=3, first_seq=7, file_id=b"3" * 16),
        write_record(path=tmp_path / "3 (copy)", segment=3, first_seq=7, file_id=b"3" * 16),
    ]
    found = parts(survey(paths).places)
    assert [[place.path.name for place in part] for part in found] == [["1 (copy)", "1"], ["2"], ["3", "3 (copy)"]]


def test_a_filtered_record_gives_way_to_the_one_it_was_made_of(write_record, scalars, tmp_path):
    whole = write_record(scalars(4), path=tmp_path / "whole")
    filter_record(whole, tmp_path / "some", lambda _: Selection(first_seq=2, last_seq=3))
    (part,) = parts(survey([tmp_path / "some", whole]).places)
    assert [place.path.name for place in part] == ["whole"]


def test_each_frame_of_copies_is_there_once_whichever_copy_has_it(write_record, scalars, tmp_path):
    frames = [scalars(2), scalars(2), scalars(2)]
    one = write_record(*frames, path=tmp_path / "1")
    other = write_record(frames[0], path=tmp_path / "2")
    with RecordReader(one) as first, RecordReader(other) as second:
        found = frames_once([second.segments[0], first.segments[0]])
    assert [(copies[0][1].first_seq, len(copies)) for copies in found] == [(1, 2), (3, 1), (5, 1)]
