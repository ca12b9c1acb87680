from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from esper_telemetry.errors import NotARecordError
from esper_telemetry.recordfile import RecordReader, RecordWriter, SegmentName, StreamFollower, follow
from esper_telemetry.recordfile.follow import next_segment
from esper_telemetry.recordfile.lock import lock_exclusive


def seqs(found) -> list[int]:
    return [event.seq for one in found for event in one.events]


def segment_path(folder, number, rank=0):
    return folder / SegmentName("main", rank, "20260101T000000Z", "00000001", number).format()


def writer_at(records, number, rank=0, **header) -> RecordWriter:
    path = segment_path(records.folder, number, rank)
    return RecordWriter(path, records.header(segment=number, rank=rank, **header), records.types)


def test_each_frame_is_seen_once_as_soon_as_it_is_written(records):
    writer = writer_at(records, 1)
    follower = StreamFollower(writer.path)
    assert follower.poll() == []
    for number in range(4):
        writer.write(records.batch(number * 10 + 1, 10))
        assert seqs(follower.poll()) == list(range(number * 10 + 1, number * 10 + 11))
        assert follower.poll() == []
    writer.close()
    assert follower.poll() == []
    assert follower.finished
    assert not follower.cut


def test_a_look_gives_a_part_of_a_long_record(records):
    path = records.write(frames=40, per_frame=2000)
    follower = StreamFollower(path)
    looks = []
    while not follower.finished:
        looks.append(follower.poll())
    assert seqs(one for found in looks for one in found) == list(range(1, 80_001))
    assert max(sum(one.frame.raw_size for one in found) for found in looks) < 2 << 20
    assert len(looks) > 2


def test_no_prefix_of_a_write_is_taken_for_a_frame(records, small_types):
    data = records.bytes(frames=2, per_frame=10, types=small_types)
    frames = list(RecordReader(data).frames())
    path = segment_path(records.folder, 1)
    path.write_bytes(data[: frames[0].offset])
    follower = StreamFollower(path)
    seen = []
    with path.open("ab", buffering=0) as file:
        lock_exclusive(file.fileno())
        for at in range(frames[0].offset, frames[1].end, 7):
            file.write(data[at : min(at + 7, frames[1].end)])
            seen += seqs(follower.poll())
            assert seen == list(range(1, 10 * sum(frame.end <= at + 7 for frame in frames) + 1))
    assert seen == list(range(1, 21))


def test_it_goes_on_with_the_next_segment_after_the_seek_table(records):
    first = writer_at(records, 1)
    first.write(records.batch(1, 10))
    follower = StreamFollower(first.path)
    assert seqs(follower.poll()) == list(range(1, 11))
    second = writer_at(records, 2, previous_last_seq=10, file_id=b"2" * 16)
    first.close()
    second.write(records.batch(11, 10))
    found = follower.poll()
    assert seqs(found) == list(range(11, 21))
    assert found[0].segment.header.segment == 2
    assert not follower.finished
    second.close()
    follower.poll()
    assert follower.finished


def test_types_declared_later_are_known_with_the_frame_that_uses_them(records):
    writer = RecordWriter(records.path(), records.header(), [])
    follower = StreamFollower(writer.path)
    writer.write(records.batch(1, 10, new_types=records.types))
    (found,) = follower.poll()
    assert list(found.segment.types) == [records.scalar, records.epoch]
    writer.abandon()


def test_a_write_that_was_cut_back_is_not_missed_when_it_comes_again(records):
    writer = writer_at(records, 1)
    writer.write(records.batch(1, 10))
    follower = StreamFollower(writer.path)
    follower.poll()
    size = writer.bytes_written
    with writer.path.open("ab", buffering=0) as file:
        file.write(b"\x28\xb5\x2f\xfd half a frame")
    assert follower.poll() == []
    os.truncate(writer.path, size)
    writer.write(records.batch(11, 10))
    assert seqs(follower.poll()) == list(range(11, 21))
    writer.abandon()


def test_a_writer_that_is_gone_ends_the_stream(records):
    writer = writer_at(records, 1)
    writer.write(records.batch(1, 10))
    writer.abandon()
    found = list(follow(writer.path, sleep=lambda _: None))
    assert seqs(found) == list(range(1, 11))


def test_a_cut_end_is_told_in_the_one_wording_when_the_writer_is_gone(records):
    path = segment_path(records.folder, 1)
    data = records.bytes(frames=3, per_frame=10, close=False)[:-50]
    path.write_bytes(data)
    *frames, last = follow(path, sleep=lambda _: None)
    assert seqs(frames) == list(range(1, 21))
    assert str(last.truncation) == str(RecordReader(data).truncation)


def test_a_living_writer_is_waited_for(records):
    writer = writer_at(records, 1)
    looks = []

    def sleep(_):
        looks.append(1)
        if len(looks) == 50:
            writer.write(records.batch(1, 10))
            writer.close()

    assert seqs(follow(writer.path, sleep=sleep)) == list(range(1, 11))
    assert len(looks) >= 50


def test_damage_in_a_growing_file_is_told_and_passed(records):
    data = bytearray(records.bytes(frames=4, per_frame=10, close=False))
    frames = list(RecordReader(bytes(data)).frames())
    data[frames[1].offset : frames[1].offset + 4] = bytes(4)
    data[frames[2].offset + 20] ^= 1
    path = segment_path(records.folder, 1)
    path.write_bytes(data)
    found = list(follow(path, sleep=lambda _: None))
    assert seqs(found) == [*range(1, 11), *range(31, 41)]
    damage = [one.damage for one in found if one.damage is not None]
    assert [(one.first_seq, one.last_seq) for one in damage if one.first_seq] == [(11, 20), (21, 30)]


def test_all_streams_of_a_run_folder_are_followed_each_in_order(records):
    for rank in range(3):
        writer = writer_at(records, 1, rank)
        writer.write(records.batch(1, 10))
        writer_at(records, 2, rank, previous_last_seq=10, file_id=b"2" * 16).close()
        writer.close()
    found = list(follow(records.folder, sleep=lambda _: None))
    for rank in range(3):
        assert seqs(one for one in found if one.segment.header.rank == rank) == list(range(1, 11))


def test_a_follower_can_be_stopped(records):
    writer = writer_at(records, 1)
    writer.write(records.batch(1, 10))
    assert len(list(follow(writer.path, stop=iter([False, True]).__next__, sleep=lambda _: None))) == 1
    writer.abandon()


def test_what_is_no_record_is_refused(tmp_path):
    (tmp_path / "text").write_text("some text that is no record")
    with pytest.raises(NotARecordError):
        StreamFollower(tmp_path / "text")


def test_only_a_later_segment_of_the_same_stream_comes_next(records):
    one = segment_path(records.folder, 1)
    for number, rank in ((1, 0), (3, 0), (2, 1)):
        segment_path(records.folder, number, rank).touch()
    assert next_segment(one) == segment_path(records.folder, 3)
    assert next_segment(segment_path(records.folder, 3)) is None
    assert next_segment(records.folder / "foreign.esr.zst") is None


def test_a_real_writer_is_followed_over_rotation_without_a_miss(tmp_path):
    code = """
        import sys, time
        sys.path.insert(0, sys.argv[2])
        from conftest import TYPES, make_batch, make_header
        from esper_telemetry.sinks import FileSink
        sink = FileSink(sys.argv[1], make_header(anchor_unix_nano=0), TYPES, max_bytes=40_000)
        print(sink.path.parent, flush=True)
        for number in range(150):
            sink.write(make_batch(number * 20 + 1, 20))
            time.sleep(0.002)
        sink.close()
    """
    command = [sys.executable, "-c", textwrap.dedent(code), tmp_path, Path(__file__).parent]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        folder = process.stdout.readline().strip()
        found = list(follow(folder, poll_interval=0.005))
    assert process.returncode == 0
    assert seqs(found) == list(range(1, 3001))
    assert len({one.path for one in found}) > 1
    assert [one.damage for one in found if one.damage] == []


def test_a_folder_that_is_pruned_while_it_is_followed_gives_each_frame_once(records):
    """A stream is known by its producer: the name of its oldest segment changes with each deletion."""
    seen: list[int] = []
    writers = [writer_at(records, 1)]
    steps = iter(range(2, 9))

    def sleep(_):
        number = next(steps, None)
        last = writers[-1]
        if number is None:
            last.close()
            return
        last.write(records.batch(last.last_seq + 1, 10))
        header = {"previous_last_seq": last.last_seq, "file_id": bytes([number]) * 16}
        writers.append(writer_at(records, number, **header))
        last.close()
        if number > 4:
            segment_path(records.folder, number - 4).unlink()

    for found in follow(records.folder, sleep=sleep):
        seen += [event.seq for event in found.events]
    assert seen == list(range(1, 71))


def test_segments_that_were_removed_ahead_are_told_with_their_numbers(records):
    first = writer_at(records, 1)
    first.write(records.batch(1, 10))
    follower = StreamFollower(first.path)
    follower.poll()
    second = writer_at(records, 2, previous_last_seq=10, file_id=b"2" * 16)
    second.write(records.batch(11, 10))
    third = writer_at(records, 3, previous_last_seq=20, file_id=b"3" * 16)
    third.write(records.batch(21, 10))
    for writer in (first, second, third):
        writer.close()
    second.path.unlink()
    gap, *frames = follower.poll()
    assert (gap.damage.first_seq, gap.damage.last_seq) == (11, 20)
    assert "removed before they were read" in str(gap.damage)
    assert seqs(frames) == list(range(21, 31))


def test_what_was_read_elsewhere_tells_what_is_missing_before_the_first_segment(records):
    writer = writer_at(records, 3, previous_last_seq=20)
    writer.write(records.batch(21, 10))
    producer = records.header().producer_id
    gap, *_ = StreamFollower(writer.path, {producer: 12}).poll()
    assert (gap.damage.first_seq, gap.damage.last_seq) == (13, 20)
    assert seqs(StreamFollower(writer.path, {producer: 20}).poll()) == list(range(21, 31))
    assert StreamFollower(writer.path).poll()[0].damage is None, "who starts here misses nothing"


def test_a_next_segment_that_is_no_record_is_told_and_passed(records):
    first = writer_at(records, 1)
    first.write(records.batch(1, 10))
    segment_path(records.folder, 2).write_bytes(bytes(4_000))
    third = writer_at(records, 3, previous_last_seq=10, file_id=b"3" * 16)
    third.write(records.batch(11, 10))
    first.close()
    third.close()
    found = list(follow(first.path, sleep=lambda _: None))
    assert seqs(found) == list(range(1, 21))
    assert any("the segment cannot be read" in str(one.damage) for one in found if one.damage)


def test_two_files_of_one_stream_are_one_stream(records):
    writer = writer_at(records, 1)
    writer.write(records.batch(1, 10))
    writer.close()
    copy = records.folder / SegmentName("copied", 0, "20260101T000000Z", "00000001", 1).format()
    copy.write_bytes(writer.path.read_bytes())
    assert seqs(follow(records.folder, sleep=lambda _: None)) == list(range(1, 11))
