from __future__ import annotations

import pytest

from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile import RecordReader, RecordWriter, Selection, filter_record, verify
from esper_telemetry.recordfile.filtered import FILTERED


def events(data_or_path) -> list:
    return list(RecordReader(data_or_path).events())


def test_the_events_wanted_are_those_of_the_input(records):
    data = records.bytes(frames=5, per_frame=20)
    wanted = Selection(type_ids=frozenset({records.epoch}), first_seq=30)
    result = filter_record(data, records.path(), lambda segment: wanted)
    expected = [event for event in events(data) if event.type_id == records.epoch and event.seq >= 30]
    assert events(result.output) == expected
    assert (result.events, result.dropped) == (len(expected), 100 - len(expected))
    assert verify(result.output).good


def test_frames_that_are_wanted_whole_are_copied(records):
    data = records.bytes(frames=5, per_frame=500)  # full frames: they stay as they are
    result = filter_record(data, records.path(), lambda segment: Selection(first_seq=1001, last_seq=2000))
    assert (result.frames, result.copied) == (2, 2)
    reader, original = RecordReader(result.output), RecordReader(data)
    mine = [reader.decompress(frame) for frame in reader.frames()]
    assert mine == [original.decompress(frame) for frame in list(original.frames())[2:4]]
    assert [(frame.first_seq, frame.last_seq) for frame in reader.frames()] == [(1, 1500), (1501, 2000)]


def test_the_new_file_has_an_identity_of_its_own_and_says_what_it_is(records):
    data = records.bytes()
    one, two, three = records.path(), records.path(), records.path()
    filter_record(data, one, lambda segment: Selection(first_seq=5))
    filter_record(data, two, lambda segment: Selection(first_seq=5))
    filter_record(data, three, lambda segment: Selection(first_seq=6))
    assert one.read_bytes() == two.read_bytes()
    headers = [RecordReader(path).header for path in (one, three)]
    assert len({header.file_id for header in headers} | {RecordReader(data).header.file_id}) == 3
    assert "first_seq=5" in headers[0].attributes[FILTERED]
    assert headers[0].producer_id == RecordReader(data).header.producer_id


def test_types_and_descriptors_of_later_headers_come_along(records):
    writer = RecordWriter(records.path(), records.header(), records.types[:1])
    writer.write(records.batch(1, 10, new_types=records.types[1:]))
    writer.close()
    result = filter_record(writer.path, records.path(), lambda segment: Selection(last_seq=5))
    assert RecordReader(result.output).types == RecordReader(writer.path).types
    assert verify(result.output).good


def test_each_segment_is_chosen_by_its_own_types_and_header(records):
    data = records.bytes(frames=1, per_frame=10) + records.bytes(frames=1, per_frame=10, rank=1, file_id=b"2" * 16)
    result = filter_record(data, records.path(), lambda segment: Selection() if segment.header.rank else None)
    with RecordReader(result.output) as reader:
        assert [segment.header.rank for segment in reader.segments] == [1]
        assert reader.records == 10


def test_a_damaged_frame_is_left_out_and_reported(records):
    data = bytearray(records.bytes(frames=3, per_frame=10))
    data[list(RecordReader(bytes(data)).frames())[1].offset + 9] ^= 1
    result = filter_record(bytes(data), records.path(), lambda segment: Selection())
    assert not result.complete
    assert [(damage.first_seq, damage.last_seq) for damage in result.damage] == [(11, 20)]
    assert [event.seq for event in events(result.output)] == [*range(1, 11), *range(21, 31)]


def test_an_existing_output_is_refused(records):
    path = records.write()
    with pytest.raises(SinkError, match="exists already"):
        filter_record(path, path, lambda segment: Selection())


def test_what_is_left_of_small_frames_is_one(records):
    data = records.bytes(frames=100, per_frame=6)
    result = filter_record(data, records.path(), lambda segment: Selection(type_ids=frozenset({records.scalar})))
    assert (result.frames, result.copied, result.events) == (1, 0, 400)
    assert events(result.output) == [event for event in events(data) if event.type_id == records.scalar]
    assert verify(result.output).good


def test_where_no_segment_is_wanted_no_file_is_left(records):
    output = records.path()
    result = filter_record(records.bytes(frames=2), output, lambda segment: None)
    assert (result.segments, result.events) == (0, 0)
    assert not output.exists()


def test_progress_reaches_its_total(records):
    told = []
    data = records.bytes(frames=3, per_frame=500)
    filter_record(data, records.path(), lambda segment: Selection(), progress=lambda *one: told.append(one))
    assert told[-1][0] == told[-1][1] > 0
    assert [done for done, _ in told] == sorted(done for done, _ in told)
