"""The streams of child processes, through real files, locks and processes."""

import logging
import os
import time
from functools import partial

import pytest

from esper_telemetry.recordfile import RecordReader, list_run
from esper_telemetry.sinks import FileSink
from esper_telemetry.sinks.child import ChildSink, child_streams, stream_is_written, tallied

PARENT = bytes(range(16))
RUN = "20261122T223328Z-test-1f3a9c"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / RUN).mkdir()
    return tmp_path / RUN


@pytest.fixture
def child(stream, folder):
    """A function that returns the sink of a new child."""

    def make(producer: int = 1, *, rank: int = 0, limit: int = 64, own_types=()) -> ChildSink:
        header = stream.header(stream="worker", rank=rank, producer_id=bytes([producer]) * 16)
        open_file = partial(FileSink, folder.parent, header, stream.types)
        return ChildSink(folder, rank, PARENT, open_file, limit=limit, own_types=own_types)

    return make


def test_nothing_is_opened_before_something_is_written(stream, child, folder):
    sink = child()
    sink.sync()
    assert (sink.paths, sink.bytes_written, list(folder.iterdir())) == ((), 0, [])
    sink.write(stream.batch(5))
    sink.sync()
    sink.close()
    (path,) = sink.paths
    assert [path] == list_run(folder)
    assert path.stat().st_size == sink.bytes_written
    with RecordReader(path) as reader:
        assert reader.closed
        assert len(list(reader.events())) == 5


def test_a_sink_that_was_never_written_to_can_be_closed(child, folder):
    child().close()
    assert list(folder.iterdir()) == []


def test_children_beyond_the_limit_are_counted_and_the_first_of_them_says_so(stream, child, folder, caplog):
    caplog.set_level(logging.WARNING)
    sinks = [child(number, limit=2) for number in range(4)]
    for sink in sinks:
        sink.write(stream.batch(5))
    assert [sink.counting for sink in sinks] == [False, False, True, True]
    assert len(child_streams(folder, 0, PARENT)) == 2
    # The batches of one numbering went to several sinks: each counts all numbers up to its own.
    assert tallied(folder) == 15 + 20
    (said,) = [record.message for record in caplog.records]
    assert "2 child processes have recorded here" in said
    assert sinks[3].paths == ()


def test_each_rank_has_a_limit_of_its_own(stream, child):
    sinks = [child(rank, rank=rank, limit=1) for rank in range(3)]
    for sink in sinks:
        sink.write(stream.batch())
    assert not any(sink.counting for sink in sinks)


def test_the_children_of_an_earlier_attempt_are_not_counted(stream, child, folder):
    hour = 3_600_000_000_000
    for number, start in enumerate((stream.start, stream.start + 2 * hour), 1):
        header = stream.header(stream="worker", producer_id=bytes([number]) * 16, anchor_unix_nano=start)
        FileSink(folder.parent, header, stream.types).close()
    FileSink(folder.parent, stream.header(producer_id=PARENT, anchor_unix_nano=stream.start + hour), stream.types)
    assert len(child_streams(folder, 0, PARENT)) == 1


def test_a_sink_that_only_counts_opens_no_stream(stream, child, folder):
    sink = child(limit=0)
    sink.write(stream.batch(7))
    sink.write(stream.batch(3))
    sink.close()
    assert tallied(folder) == 10
    assert child_streams(folder, 0, PARENT) == set()


def test_what_the_recorder_adds_itself_is_not_counted(stream, child, folder):
    sink = child(limit=0, own_types={1})
    sink.write(stream.batch(7))
    assert tallied(folder) == 0


def test_many_children_at_once_get_exactly_as_many_streams_as_there_may_be(stream, child, folder):
    batch = stream.batch()
    pids = []
    for number in range(12):
        pid = os.fork()
        if not pid:
            child(number, limit=8).write(batch)
            os._exit(0)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 12
    assert len(child_streams(folder, 0, PARENT)) == 8
    assert tallied(folder) == 4 * batch.records


def test_a_stream_is_written_while_its_writer_holds_the_last_segment(stream, folder):
    sink = FileSink(folder.parent, stream.header(), stream.types, max_bytes=1)
    producer = stream.header().producer_id
    assert stream_is_written(folder, producer)
    assert not stream_is_written(folder, b"other" * 3)
    for _ in range(3):
        sink.write(stream.batch())
    assert len(sink.paths) == 3
    assert stream_is_written(folder, producer)
    sink.close()
    assert not stream_is_written(folder, producer)


def test_a_fork_child_does_not_keep_its_parents_stream_alive(stream, folder):
    read_end, write_end = os.pipe()
    writer = os.fork()
    if not writer:
        sink = FileSink(folder.parent, stream.header(), stream.types)
        sink.write(stream.batch())
        if not os.fork():
            os.close(write_end)
            os.read(read_end, 1)  # until the test ends
            os._exit(0)
        os._exit(0)
    os.close(read_end)
    os.waitpid(writer, 0)
    deadline = time.monotonic() + 20  # the child releases the file in its first moments, which may be yet to come
    while stream_is_written(folder, stream.header().producer_id):
        assert time.monotonic() < deadline
    os.close(write_end)
