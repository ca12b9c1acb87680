from __future__ import annotations

import errno
import os

import pytest

from esper_telemetry.errors import ConfigError, SinkError
from esper_telemetry.recordfile import RecordReader, SegmentName, list_run
from esper_telemetry.sinks import FileSink


def read_all(folder) -> list[int]:
    """Return the numbers of every event in a run folder, segment by segment."""
    seqs = []
    for path in list_run(folder):
        with RecordReader(path) as reader:
            assert reader.damage == []
            seqs += [event.seq for event in reader.events()]
    return seqs


def test_the_segment_stands_in_the_run_folder_under_its_name(stream, tmp_path, clock):
    sink = FileSink(tmp_path, stream.header(rank=3), stream.types, clock=clock)
    assert sink.path == tmp_path / "20261122T223328Z-test-1f3a9c" / "main-r3-20261122T223328Z-00010203-000001.esr.zst"
    assert sink.paths == (sink.path,)
    assert sink.path.stat().st_size == sink.bytes_written
    sink.close()
    assert sink.bytes_written == sink.path.stat().st_size


def test_the_clock_is_the_anchor_of_a_header_without_one(stream, tmp_path, clock):
    clock.monotonic = 77
    with RecordReader(FileSink(tmp_path, stream.header(), stream.types, clock=clock).path) as reader:
        assert (reader.header.anchor_unix_nano, reader.header.anchor_monotonic_nano) == (clock.wall, 77)


def test_a_full_segment_is_followed_by_the_next_between_frames(stream, tmp_path):
    sink = FileSink(tmp_path, stream.header(), stream.types, max_bytes=40_000)
    for number in range(30):
        sink.write(stream.batch(10, size=os.urandom(1)[0] + 100, new_types=[stream.later] if number == 3 else ()))
    big = stream.batch(1)
    sink.write(big)
    sink.close()
    assert read_all(sink.path.parent) == list(range(1, 302))
    assert list(sink.paths) == list_run(sink.path.parent)
    assert sink.bytes_written == sum(path.stat().st_size for path in sink.paths)


def test_segments_refer_to_each_other_and_declare_what_each_of_them_uses(stream, tmp_path, clock):
    sink = FileSink(tmp_path, stream.header(), stream.types, max_age_s=60, clock=clock)
    sink.write(stream.batch(10, new_types=[stream.later]))
    for _ in range(2):
        clock.monotonic += 61_000_000_000
        sink.write(stream.batch(10))
    sink.close()
    readers = [RecordReader(path) for path in sink.paths]
    assert [reader.closed for reader in readers] == [True] * 3
    assert [reader.header.segment for reader in readers] == [1, 2, 3]
    assert [reader.header.previous_last_seq for reader in readers] == [0, 10, 20]
    assert [reader.header.previous_file_id for reader in readers] == [b"", *(r.header.file_id for r in readers[:2])]
    assert {reader.header.producer_id for reader in readers} == {bytes(range(16))}
    assert [reader.types for reader in readers] == [{1: stream.types[0][1].full_name}] * 3
    assert [len(reader.segments[0].headers) for reader in readers] == [2, 1, 1], (
        "the first frame is known at a rotation"
    )
    names = [SegmentName.parse(path) for path in sink.paths]
    assert all(name.same_stream(names[0]) for name in names)


def test_a_segment_without_frames_is_not_rotated(stream, tmp_path, clock):
    sink = FileSink(tmp_path, stream.header(), stream.types, max_age_s=1, clock=clock)
    clock.monotonic += 10_000_000_000
    sink.write(stream.batch())
    assert len(sink.paths) == 1


def test_the_next_segment_is_there_before_the_last_one_is_closed(stream, tmp_path, clock, mocker):
    sink = FileSink(tmp_path, stream.header(), stream.types, max_age_s=1, clock=clock)
    sink.write(stream.batch())
    seen = []

    def close(writer, **options):
        seen.append(len(list_run(writer.path.parent)))

    mocker.patch("esper_telemetry.recordfile.writer.RecordWriter.close", close)
    clock.monotonic += 2_000_000_000
    sink.write(stream.batch())
    assert seen == [2]


@pytest.mark.parametrize(
    "case",
    [("none", [0, 0, 0, 0]), ("close", [0, 0, 0, 1]), ("interval", [0, 0, 1, 2]), ("every", [1, 2, 3, 4])],
    ids=lambda case: case[0],
)
def test_data_is_forced_to_the_disk_by_policy(stream, tmp_path, clock, mocker, case):
    policy, synced = case
    calls = mocker.patch("esper_telemetry.recordfile.append._sync_data")
    sink = FileSink(tmp_path, stream.header(), stream.types, sync=policy, sync_interval_s=1.0, clock=clock)
    counts = []
    for _ in range(3):
        clock.monotonic += 400_000_000
        sink.write(stream.batch())
        counts.append(calls.call_count)
    sink.close()
    assert [*counts, calls.call_count] == synced


def test_sync_always_syncs(stream, tmp_path, mocker):
    calls = mocker.patch("esper_telemetry.recordfile.append._sync_data")
    sink = FileSink(tmp_path, stream.header(), stream.types, sync="none")
    sink.sync()
    assert calls.call_count == 1


def test_a_batch_whose_sync_failed_is_not_written_twice(stream, tmp_path, mocker):
    sink = FileSink(tmp_path, stream.header(), stream.types, sync="every")
    batch = stream.batch()
    mocker.patch(
        "esper_telemetry.recordfile.append._sync_data", side_effect=[OSError(errno.EIO, "bad disk"), None, None]
    )
    with pytest.raises(SinkError, match="cannot sync"):
        sink.write(batch)
    sink.write(batch)
    sink.close()
    assert read_all(sink.path.parent) == list(range(1, 11))


def test_a_segment_that_cannot_be_opened_is_tried_again(stream, tmp_path, clock, mocker):
    sink = FileSink(tmp_path, stream.header(), stream.types, max_age_s=1, clock=clock)
    sink.write(stream.batch())
    clock.monotonic += 2_000_000_000
    batch = stream.batch()
    mocker.patch("esper_telemetry.recordfile.append.os.open", side_effect=OSError(errno.ENOSPC, "full"))
    for _ in range(3):
        with pytest.raises(SinkError, match="full"):
            sink.write(batch)
    mocker.stopall()
    sink.write(batch)
    sink.close()
    assert [SegmentName.parse(path).segment for path in sink.paths] == [1, 2]
    assert read_all(sink.path.parent) == list(range(1, 21))


def test_a_target_that_cannot_be_written_is_refused_at_once(stream, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="cannot make the run folder"):
        FileSink(tmp_path / "file", stream.header(), stream.types)


@pytest.mark.parametrize(
    ("options", "header", "message"),
    [
        ({"sync": "often"}, {}, "sync 'often' is unknown; use one of none, close, interval, every"),
        ({}, {"run_id": "../escape"}, "run id '../escape' cannot be a file name"),
        ({}, {"stream": "a/b"}, "stream 'a/b' cannot be a file name"),
    ],
)
def test_options_that_cannot_be_used_are_refused_by_name(stream, tmp_path, options, header, message):
    with pytest.raises(ConfigError, match=message):
        FileSink(tmp_path, stream.header(**header), stream.types, **options)


def test_a_fork_child_cannot_write_into_its_parents_file(stream, tmp_path):
    sink = FileSink(tmp_path, stream.header(), stream.types)
    sink.write(stream.batch())
    batch = stream.batch()
    pid = os.fork()
    if not pid:
        try:
            sink.write(batch)
        except SinkError:
            sink.close()
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    sink.write(batch)
    sink.close()
    assert read_all(sink.path.parent) == list(range(1, 21))


def test_an_abandoned_sink_leaves_the_file_as_it_stands(stream, tmp_path):
    sink = FileSink(tmp_path, stream.header(), stream.types)
    sink.write(stream.batch())
    before = sink.path.read_bytes()
    sink.abandon()
    sink.close()
    assert sink.path.read_bytes() == before


def test_a_reader_is_told_that_old_segments_may_be_gone_on_purpose(stream, tmp_path):
    for number, keep in enumerate((None, 40_000)):
        sink = FileSink(tmp_path / str(number), stream.header(attributes={"a": "b"}), stream.types, keep_bytes=keep)
        with RecordReader(sink.path) as reader:
            told = dict(reader.header.attributes)
        assert told == {"a": "b"} | ({"esper_telemetry.keep_bytes": "40000"} if keep else {})


def test_old_segments_go_when_only_so_much_is_to_be_kept(stream, tmp_path):
    sink = FileSink(tmp_path, stream.header(), stream.types, max_bytes=13_000, keep_bytes=40_000)
    for _ in range(200):
        sink.write(stream.batch(10, size=os.urandom(1)[0] + 200))
    sink.close()
    left = list_run(sink.path.parent)
    assert left == list(sink.paths)
    assert len(left) < SegmentName.parse(sink.path).segment
    assert sum(path.stat().st_size for path in left[:-1]) <= 40_000
    seqs = read_all(sink.path.parent)
    assert seqs == list(range(seqs[0], 2001))
