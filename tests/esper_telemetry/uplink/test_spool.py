"""A producer's segments as one stream, while the writer lives, rotates, closes or dies."""

import os
import signal
import subprocess
import sys

import pytest

from esper_telemetry.recordfile import RecordReader, Skip, SkipReason
from esper_telemetry.uplink.segment_frames import Frame
from esper_telemetry.uplink.spool import FINISHED, INCOMPLETE, WRITER_LOST, Spool, find_segments


def numbers(items):
    return [(item.first_seq, item.last_seq) for item in items]


def contiguous(items, first=1):
    for item in items:
        assert item.first_seq == first
        first = item.last_seq + 1
    return first - 1


def test_frames_of_all_segments_come_in_order(tmp_path, kit):
    producer = kit.Producer(tmp_path, max_bytes=3000).write(frames=40, noise=20).close()
    assert len(producer.sink.paths) > 3
    spool = producer.spool()
    items = kit.drain(spool)
    assert [item.payload for item in items] == kit.frames(producer.sink.paths)
    assert contiguous(items) == spool.final_seq == 400
    assert spool.outcome == FINISHED


def test_a_follower_goes_with_the_writer_into_the_next_segment(tmp_path, kit):
    producer = kit.Producer(tmp_path, max_bytes=3000).write()
    spool = producer.spool(follow=True)
    found = kit.drain(spool)
    for _ in range(40):
        producer.write(noise=20)
        found += kit.drain(spool)
        assert spool.outcome is None
    producer.close()
    assert kit.drain(spool) == []
    assert spool.outcome == FINISHED
    assert [item.payload for item in found] == kit.frames(producer.sink.paths)
    assert len(producer.sink.paths) > 3


def test_a_living_writer_is_waited_for_and_a_push_takes_what_there_is(producer, kit):
    producer.write(frames=2)
    following, pushing = producer.spool(follow=True), producer.spool()
    for spool in (following, pushing):
        assert numbers(kit.drain(spool)) == [(1, 10), (11, 20)]
    assert following.outcome is None
    assert pushing.outcome == INCOMPLETE
    producer.die()


def test_a_released_lock_without_a_footer_is_a_dead_writer(producer, kit):
    producer.write(frames=2)
    spool = producer.spool(follow=True)
    kit.drain(spool)
    producer.write().die()
    assert numbers(kit.drain(spool)) == [(21, 30)]
    assert spool.outcome == WRITER_LOST
    assert spool.final_seq == 30


def test_a_killed_process_is_a_dead_writer_though_its_fork_child_lives(tmp_path, kit):
    code = """
import os, sys, time
import esper_telemetry as et
run = et.start_run(sys.argv[1], name="killed")
if os.fork() == 0:
    time.sleep(600)
run.flush()
print(run.folder, flush=True)
time.sleep(600)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        folder = tmp_path / process.stdout.readline().strip()
        (path,) = folder.iterdir()
        spool = Spool(find_segments(path), follow=True)
        assert kit.drain(spool)
        assert spool.outcome is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        while spool.outcome is None:  # the child lets go of the file in its first moments, which may be yet to come
            assert kit.drain(spool) == []
        assert spool.outcome == WRITER_LOST
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("seq", [1, 10, 11, 150, 399, 400, 401])
def test_seek_goes_to_any_number_in_any_segment(tmp_path, kit, seq):
    producer = kit.Producer(tmp_path, max_bytes=3000).write(frames=40, noise=20).close()
    spool = producer.spool()
    kit.drain(spool)
    start = (seq - 1) // 10 * 10 + 1
    spool.seek(start)
    assert contiguous(kit.drain(spool), start) == 400
    assert spool.outcome == FINISHED


def test_a_lost_segment_becomes_a_skip(tmp_path, kit):
    producer = kit.Producer(tmp_path, max_bytes=3000).write(frames=40, noise=20).close()
    lost = producer.sink.paths[1]
    with RecordReader(lost) as reader:
        first, last = reader.header.previous_last_seq + 1, reader.segments[0].last_seq
    spool = producer.spool()
    lost.unlink()
    items = kit.drain(spool)
    assert contiguous(items) == 400
    assert [item for item in items if isinstance(item, Skip)] == [Skip(first, last, SkipReason.SPOOL_LOST)]
    again = Spool(
        [place for path in producer.sink.paths if path != lost for place in find_segments(path)], follow=False
    )
    items = kit.drain(again)
    assert [item for item in items if isinstance(item, Skip)] == [Skip(first, last, SkipReason.SPOOL_LOST)]


def test_numbers_before_the_first_file_become_a_skip(tmp_path, kit):
    producer = kit.Producer(tmp_path, max_bytes=3000).write(frames=40, noise=20).close()
    spool = Spool([place for path in producer.sink.paths[2:] for place in find_segments(path)], follow=False)
    assert spool.first_seq > 1
    items = kit.drain(spool)
    assert items[0] == Skip(1, spool.first_seq - 1, SkipReason.SPOOL_LOST)
    assert contiguous(items) == 400


def test_a_damaged_frame_becomes_a_skip(producer, kit):
    producer.write(frames=4, noise=40).close()
    with RecordReader(producer.sink.path) as reader:
        second = list(reader.frames())[1]
    data = bytearray(producer.sink.path.read_bytes())
    data[second.offset : second.offset + 40] = bytes(40)
    producer.sink.path.write_bytes(data)
    spool = producer.spool()
    items = kit.drain(spool)
    assert items[1] == Skip(11, 20, SkipReason.CORRUPT)
    assert contiguous(items) == 40
    assert len(spool.damages) == 1


def test_numbers_that_the_producer_shed_lie_inside_a_frame(producer, kit):
    producer.write(last_seq=50).write().close()
    items = kit.drain(producer.spool())
    assert numbers(items) == [(1, 50), (51, 60)]
    assert all(isinstance(item, Frame) for item in items)


def test_the_same_segment_given_twice_is_one(producer, kit, tmp_path):
    producer.write(frames=3).close()
    copy = tmp_path / "copy.esr.zst"
    copy.write_bytes(producer.sink.path.read_bytes())
    spool = Spool([*find_segments(producer.sink.path), *find_segments(copy)], follow=False)
    assert len(kit.drain(spool)) == 3


def test_only_finished_files_are_released_and_only_up_to_what_is_durable(tmp_path, kit):
    producer = kit.Producer(tmp_path, max_bytes=1).write(frames=40, noise=20)
    spool = producer.spool(follow=True)
    kit.drain(spool)
    paths = producer.sink.paths
    assert spool.release(5) == []
    assert spool.release(spool._places[1].first_seq - 1) == [paths[0]]
    assert spool.release(400) == list(paths[1:-1])
    assert spool.release(400) == []
    assert spool.first_seq > 1
    producer.write().close()
    assert numbers(kit.drain(spool)) == [(401, 410)]
    assert spool.release(409) == [paths[-1]]
    assert spool.release(410) == list(producer.sink.paths[-1:])
    assert list(producer.folder.iterdir()) == []


def test_a_file_with_numbers_that_could_not_be_sent_stays(tmp_path, kit):
    producer = kit.Producer(tmp_path, max_bytes=3000).write(frames=40, noise=20).close()
    spool = producer.spool()
    kit.drain(spool)
    keep = spool._places[1].first_seq
    assert spool.release(400, [(keep, keep + 3)]) == [producer.sink.paths[0]]


def test_a_file_that_is_not_one_segment_by_its_name_stays(producer, kit, tmp_path):
    copy = tmp_path / "mine.esr.zst"
    copy.write_bytes(producer.write().close().sink.path.read_bytes())
    spool = Spool(find_segments(copy), follow=False)
    kit.drain(spool)
    assert spool.release(10) == []
    assert copy.exists()


def test_segments_that_were_pruned_ahead_become_one_skip_and_the_rest_is_read(tmp_path, kit):
    producer = kit.Producer(tmp_path, max_bytes=3000).write()
    spool = producer.spool(follow=True)
    found = kit.drain(spool)
    while len(producer.sink.paths) < 6:
        producer.write(noise=20)
    paths = producer.sink.paths
    with RecordReader(paths[4]) as reader:
        before = reader.header.previous_last_seq
    with RecordReader(paths[0]) as reader:
        last = reader.segments[0].last_seq
    for path in paths[1:4]:
        path.unlink()
    producer.close()
    found += kit.drain(spool)
    assert contiguous(found) == spool.final_seq
    assert [item for item in found if isinstance(item, Skip)] == [Skip(last + 1, before, SkipReason.SPOOL_LOST)]
    assert spool.outcome == FINISHED


def test_a_bad_segment_does_not_end_what_follows(tmp_path, kit):
    producer = kit.Producer(tmp_path, max_bytes=3000).write()
    spool = producer.spool(follow=True)
    found = kit.drain(spool)
    while len(producer.sink.paths) < 4:
        producer.write(noise=20)
    producer.sink.paths[1].write_bytes(b"")
    producer.close()
    found += kit.drain(spool)
    assert contiguous(found) == spool.final_seq
    assert spool.outcome == FINISHED
    assert len([item for item in found if isinstance(item, Skip)]) == 1
