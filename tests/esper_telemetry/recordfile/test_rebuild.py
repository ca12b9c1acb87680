from __future__ import annotations

import pytest

from esper_telemetry.errors import NotARecordError, RecordError, SinkError
from esper_telemetry.recordfile import RecordReader, merge, verify


def test_segments_and_ranks_become_one_file_in_order(records):
    second = records.write(frames=1, per_frame=10, segment=2, previous_last_seq=20, file_id=b"2" * 16)
    first = records.write(frames=2, per_frame=10, file_id=b"1" * 16)
    other = records.write(frames=1, per_frame=5, rank=1, producer_id=b"r" * 16, file_id=b"3" * 16)
    result = merge([other, second, first], records.path())
    assert result.complete
    assert (result.segments, result.events) == (3, 35)
    with RecordReader(result.output) as reader:
        assert [(s.header.rank, s.header.segment) for s in reader.segments] == [(0, 1), (0, 2), (1, 1)]
        assert reader.closed
    assert verify(result.output).good


def test_frames_are_those_of_the_inputs_byte_for_byte(records):
    one, two = [records.bytes(per_frame=500, file_id=name * 16) for name in (b"1", b"2")]  # full frames
    paths = [records.path(), records.path()]
    for path, data in zip(paths, (one, two), strict=True):
        path.write_bytes(data)
    result = merge(paths, records.path())
    assert result.output.read_bytes() == one + two


def test_the_same_segment_twice_is_taken_once_and_completed(records):
    whole = records.write(frames=4, per_frame=500)  # full frames
    cut = records.path()
    cut.write_bytes(whole.read_bytes()[:-900])
    result = merge([cut, whole], records.path())
    assert result.output.read_bytes() == whole.read_bytes()
    assert result.repeats > 0


@pytest.mark.parametrize(
    ("previous", "producer", "unclosed"),
    [
        pytest.param(b"1" * 16, b"p" * 16, 0, id="the next segment"),
        pytest.param(b"?" * 16, b"p" * 16, 0, id="another writer with numbers of the same producer"),
        pytest.param(b"?" * 16, b"q" * 16, 1, id="another producer"),
    ],
)
def test_a_segment_without_a_footer_is_finished_where_another_one_takes_up(records, previous, producer, unclosed):
    first = records.write(frames=2, per_frame=10, file_id=b"1" * 16, producer_id=b"p" * 16, close=False)
    header = {"segment": 2, "previous_last_seq": 20, "previous_file_id": previous, "producer_id": producer}
    second = records.write(frames=1, per_frame=10, file_id=b"2" * 16, **header)
    result = merge([first, second], records.path())
    assert (result.unclosed, result.complete) == (unclosed, not unclosed)


@pytest.mark.parametrize(("closed", "unclosed"), [(True, 0), (False, 2)])
def test_two_segments_that_end_at_one_number_vouch_for_each_other_only_by_a_footer(records, closed, unclosed):
    first = records.write(frames=3, per_frame=10, file_id=b"1" * 16, close=False)
    second = records.write(frames=1, per_frame=10, segment=2, previous_last_seq=20, file_id=b"2" * 16, close=closed)
    result = merge([first, second], records.path())
    assert (result.events, result.unclosed) == (40, unclosed)


def test_a_footer_of_a_shorter_copy_does_not_vouch_for_a_longer_one(records):
    whole = records.write(frames=3, per_frame=10, close=False)
    short = records.write(frames=2, per_frame=10)
    for paths in ([whole, short], [short, whole]):
        result = merge(paths, records.path())
        assert (result.events, result.unclosed) == (30, 1)


def test_damage_of_an_input_is_reported_under_its_name(records):
    good = records.write(file_id=b"1" * 16)
    bad = records.path()
    data = bytearray(records.bytes(frames=3, per_frame=10, file_id=b"2" * 16))
    data[next(RecordReader(bytes(data)).frames()).offset + 9] ^= 1
    bad.write_bytes(data)
    result = merge([good, bad], records.path())
    assert list(result.damage) == [str(bad)]
    assert result.lost == [(1, 1, 10)]
    assert not result.complete


def test_files_of_different_runs_are_refused_without_force(records):
    paths = [records.write(run_id="one", file_id=b"1" * 16), records.write(run_id="two", file_id=b"2" * 16)]
    output = records.path()
    with pytest.raises(RecordError, match=r"2 runs \(one, two\); pass the files of one run, or --force"):
        merge(paths, output)
    assert not output.exists()
    assert merge(paths, output, force=True).runs == ["one", "two"]


def test_an_existing_output_and_what_is_no_record_are_refused(records, tmp_path):
    path = records.write()
    with pytest.raises(SinkError, match="exists already"):
        merge([path], path)
    (tmp_path / "text").write_text("some text that is no record")
    with pytest.raises(NotARecordError):
        merge([tmp_path / "text"], records.path())
    (tmp_path / "more").write_text("other text that is no record")
    with pytest.raises(RecordError, match=r"(?s)text.*more|more.*text"):
        merge([tmp_path / "text", tmp_path / "more"], records.path())
    merged = merge([path, tmp_path / "text"], records.path())
    assert merged.events == RecordReader(path).records
    assert [(one.path.name, "looks like text" in one.reason) for one in merged.passed_over] == [("text", True)]


def test_what_was_merged_of_small_frames_is_compact(records):
    one, two = records.write(frames=60, per_frame=3), records.write(frames=60, per_frame=3, rank=1, file_id=b"2" * 16)
    merged = merge([one, two], records.path())
    assert (merged.segments, merged.frames, merged.events) == (2, 2, 360)
    assert merged.output.stat().st_size < (one.stat().st_size + two.stat().st_size) * 2 / 3
    joined = [event for path in (one, two) for event in RecordReader(path).events()]
    assert list(RecordReader(merged.output).events()) == joined


def test_progress_goes_from_reading_to_the_check_and_reaches_its_total(records):
    told = []
    paths = [records.write(), records.write(previous_last_seq=120, file_id=b"2" * 16)]
    merge(paths, records.path(), progress=lambda *one: told.append(one))
    assert all(0 <= done <= total for done, total in told)
    assert [done / total for done, total in told] == sorted(done / total for done, total in told)
    assert 2 * told[0][0] <= told[0][1]
    assert told[-1][0] == told[-1][1]
