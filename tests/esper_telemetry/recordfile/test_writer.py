from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess

import pytest

from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile import Gone, RecordReader, RecordWriter, Selection, append
from esper_telemetry.recordfile.layout import pack_prologue
from esper_telemetry.recordfile.lock import writer_gone
from esper_telemetry.schema import Batch, frame_event, proto_include


def open_writer(records, **header) -> RecordWriter:
    return RecordWriter(records.path(), records.header(**header), records.types)


def test_what_was_written_is_read_back_in_order(records):
    path = records.write(frames=3, per_frame=40)
    with RecordReader(path) as reader:
        assert [event.seq for event in reader.events()] == list(range(1, 121))
        assert reader.closed
        assert reader.records == 120
        assert reader.index.records == 120
        assert sum(reader.index.type_counts.values()) == 120


def test_the_whole_file_is_one_protobuf_message_for_zstd_and_protoc(records):
    path = records.write()
    if shutil.which("zstd") is None or shutil.which("protoc") is None:
        pytest.skip("needs zstd and protoc on PATH (packages zstd and protobuf-compiler)")
    subprocess.run(["zstd", "-tq", path], check=True)
    raw = subprocess.run(["zstd", "-dcq", path], check=True, capture_output=True).stdout
    command = [
        "protoc",
        f"-I{proto_include()}",
        "--decode=esper_telemetry.v1.RecordFile",
        "esper_telemetry/v1/record.proto",
    ]
    text = subprocess.run(command, input=raw, check=True, capture_output=True).stdout.decode()
    assert text.count("\nevent {") == 120
    assert 'run_id: "20261122T223328Z-test-1f3a9c"' in text


def test_the_seek_table_is_the_official_one(records):
    seekable = pytest.importorskip("pyzstd", reason="pyzstd is an optional peer of the tests").SeekableZstdFile
    path = records.write()
    with RecordReader(path) as reader:
        whole = b"".join(reader.decompress(frame) for frame in reader.frames())
    with seekable(path, "r") as file:
        everything = file.read()
        assert everything.endswith(whole)
        file.seek(len(everything) - 100)
        assert file.read() == whole[-100:]


def test_the_file_is_a_valid_record_after_every_write(records):
    writer = open_writer(records)
    for number in range(5):
        with RecordReader(writer.path) as reader:
            assert reader.records == number * 10
            assert not reader.closed
            assert reader.truncation is None
        writer.write(records.batch(number * 10 + 1, 10))
    writer.close()
    with RecordReader(writer.path) as reader:
        assert reader.closed
        assert reader.records == 50


def test_an_existing_file_is_never_touched(records):
    path = records.write()
    before = path.read_bytes()
    with pytest.raises(SinkError, match="exists already and is never overwritten"):
        RecordWriter(path, records.header(), records.types)
    assert path.read_bytes() == before


def test_a_type_used_later_is_declared_just_before_its_frame(records):
    path = records.path()
    writer = RecordWriter(path, records.header(), records.types[:1], first=[records.types[0][0]])
    writer.write(records.batch(1, 10, new_types=records.types[1:]))
    writer.write(records.batch(11, 10, new_types=records.types[1:]))
    writer.close()
    for data in (path.read_bytes(), path.read_bytes()[:-100]):
        reader = RecordReader(data)
        assert list(reader.types) == [1, records.scalar, records.epoch]
        assert len(reader.segments[0].headers) == 2
        assert [event.seq for event in reader.events()] == list(range(1, 21))
    with RecordReader(path) as reader:
        assert list(reader.index.header_offsets) == [reader.segments[0].headers[1][0]]


def test_dropped_numbers_lie_inside_the_range_of_a_frame(records):
    writer = open_writer(records)
    writer.write(records.batch(5, 10, last_seq=20))
    writer.write(records.batch(31, 10))
    writer.close()
    with RecordReader(writer.path) as reader:
        assert [(frame.first_seq, frame.last_seq, frame.records) for frame in reader.frames()] == [
            (1, 20, 10),
            (21, 40, 10),
        ]
        assert reader.damage == []


def test_a_segment_continues_the_numbers_of_the_one_before(records):
    path = records.write(frames=1, per_frame=10, segment=2, previous_last_seq=500)
    with RecordReader(path) as reader:
        assert next(reader.frames()).first_seq == 501
        assert reader.damage == []


def test_numbers_that_would_repeat_are_refused(records):
    writer = open_writer(records)
    writer.write(records.batch(1, 10))
    with pytest.raises(SinkError, match="covers 10 to 19 with 10 events after sequence number 10"):
        writer.write(records.batch(10, 10))
    writer.abandon()


def test_a_batch_over_the_limit_is_refused(records):
    event = frame_event(1, 1, 1, b"", bytes(918_000))
    writer = open_writer(records)
    with pytest.raises(SinkError, match="over the limit of 917,504"):
        writer.write(Batch([event], [1], 1, 1, 1, 1))
    writer.abandon()


def test_an_empty_batch_writes_nothing(records):
    writer = open_writer(records)
    before = writer.bytes_written
    writer.write(Batch([], [], 1, 5, 0, 0))
    assert writer.bytes_written == before == writer.path.stat().st_size
    writer.abandon()


def test_a_failed_write_is_cut_back_and_may_be_tried_again(records, mocker):
    writer = open_writer(records)
    writer.write(records.batch(1, 10))
    good = writer.path.read_bytes()
    real = os.write
    left = [100]

    def full_disk(fd, data):  # takes 100 bytes, then is full
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data[: left.pop()])

    mocker.patch("esper_telemetry.recordfile.append.os.write", full_disk)
    with pytest.raises(SinkError, match="No space left"):
        writer.write(records.batch(11, 10))
    assert writer.path.read_bytes() == good
    mocker.stopall()
    writer.write(records.batch(11, 10))
    writer.close()
    with RecordReader(writer.path) as reader:
        assert [event.seq for event in reader.events()] == list(range(1, 21))


def test_a_torn_end_that_could_not_be_cut_is_cut_before_the_next_write(records, mocker):
    writer = open_writer(records)
    real = os.write
    left = [100]

    def failing(fd, data):
        if not left:
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, data[: left.pop()])

    mocker.patch("esper_telemetry.recordfile.append.os.write", failing)
    mocker.patch("esper_telemetry.recordfile.append.os.ftruncate", side_effect=OSError(errno.EIO, "Input/output error"))
    with pytest.raises(SinkError, match="Input/output error"):
        writer.write(records.batch(1, 200))
    mocker.stopall()
    assert writer.path.stat().st_size == writer.bytes_written + 100
    writer.write(records.batch(1, 1))
    writer.close()
    with RecordReader(writer.path) as reader:
        assert reader.closed
        assert reader.records == 1


def test_a_size_limit_of_the_system_leaves_a_valid_file(records):
    writer = open_writer(records)
    writer.write(records.batch(1, 10))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    good = writer.bytes_written
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (good + 50, hard))
        with pytest.raises(SinkError, match="cannot write"):
            writer.write(records.batch(11, 500))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert writer.path.stat().st_size == good
    writer.write(records.batch(11, 500))
    writer.close()
    with RecordReader(writer.path) as reader:
        assert reader.records == 510


def test_a_file_whose_footer_could_not_be_written_is_closed_and_readable(records, mocker):
    writer = open_writer(records)
    writer.write(records.batch(1, 10))
    mocker.patch("esper_telemetry.recordfile.append.os.write", side_effect=OSError(errno.ENOSPC, "full"))
    with pytest.raises(SinkError):
        writer.close()
    mocker.stopall()
    assert writer.closed
    writer.close()
    with RecordReader(writer.path) as reader:
        assert reader.records == 10
        assert not reader.closed


def test_a_closed_writer_refuses_batches(records):
    writer = open_writer(records)
    writer.close()
    with pytest.raises(SinkError, match="is closed"):
        writer.write(records.batch(1, 1))
    with pytest.raises(SinkError, match="is closed"):
        writer.sync()


def test_a_record_without_events_is_a_record(records):
    writer = open_writer(records)
    writer.sync()
    writer.close()
    with RecordReader(writer.path) as reader:
        assert reader.closed
        assert list(reader.events(Selection())) == []


def test_the_writer_holds_a_lock_until_it_is_done(records):
    writer = open_writer(records)
    assert not writer_gone(writer.path)
    writer.close()
    assert writer_gone(writer.path)


def test_a_file_removed_under_the_writer_takes_all_its_events(records):
    writer = open_writer(records)
    writer.write(records.batch(1, 40))
    written = writer.type_counts()
    assert writer.vanished() is None
    writer.path.unlink()
    assert writer.vanished() == (writer.path, Gone.REMOVED, written)
    assert written.total() == 40
    writer.abandon()


def test_a_file_that_was_cut_keeps_the_frames_before_the_cut(records):
    writer = open_writer(records)
    writer.write(records.batch(1, 40))
    whole = writer.bytes_written
    writer.write(records.batch(41, 7))
    os.truncate(writer.path, whole)
    lost = writer.vanished()
    assert (lost.how, lost.events.total()) == (Gone.CUT, 7)
    os.truncate(writer.path, whole - 1)
    assert writer.vanished().events.total() == 47
    writer.abandon()


def test_the_first_bytes_stand_in_the_file_at_once(records):
    writer = open_writer(records)
    assert writer.path.read_bytes().startswith(pack_prologue())
    assert writer.path.stat().st_size == writer.bytes_written
    writer.abandon()


def test_a_file_is_on_the_disk_when_it_was_closed_unless_that_is_not_asked_for(records, mocker):
    synced = mocker.spy(append, "_sync_data")
    for sync in (True, False):
        writer = open_writer(records)
        writer.write(records.batch(1, 5))
        before = synced.call_count
        writer.close(sync=sync)
        assert synced.call_count - before == sync
