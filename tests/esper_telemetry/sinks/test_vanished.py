"""Somebody takes a file away that is being written: it is reported with its events, and the stream goes on."""

from __future__ import annotations

import os
import shutil
from collections import Counter

import pytest

from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile import Gone, RecordReader, list_run, verify
from esper_telemetry.sinks import FileSink


@pytest.fixture
def lost() -> list:
    return []


@pytest.fixture
def sink(stream, tmp_path, lost) -> FileSink:
    return FileSink(tmp_path / "runs", stream.header(), stream.types, on_vanished=lost.append)


def seqs(folder) -> list[int]:
    found = []
    for path in list_run(folder):
        with RecordReader(path) as reader:
            found += [event.seq for event in reader.events()]
    return found


@pytest.mark.parametrize("above", [1, 2], ids=["the run folder", "the folder of runs"])
def test_a_removed_folder_is_made_again_and_the_gap_is_marked(stream, sink, lost, above):
    path = sink.path
    sink.write(stream.batch())
    shutil.rmtree(path.parents[above - 1])
    sink.write(stream.batch())
    sink.close()
    assert lost == [(path, Gone.REMOVED, Counter({1: 10}))]
    (left,) = list_run(sink.path.parent)
    assert sink.paths == (left,)
    with RecordReader(left) as reader:
        assert [event.seq for event in reader.events()] == list(range(11, 21))
        assert (reader.header.previous_last_seq, reader.header.segment) == (10, 2)


def test_a_look_is_enough_and_reports_once(stream, sink, lost):
    sink.write(stream.batch())
    sink.check()
    assert not lost
    sink.path.unlink()
    for _ in range(3):
        sink.check()
    assert [one.how for one in lost] == [Gone.REMOVED]
    assert sink.paths == ()
    assert not sink.path.exists(), "a look writes nothing"


def test_a_moved_file_is_finished_where_it_is(stream, sink, lost, tmp_path):
    sink.write(stream.batch())
    folder = sink.path.parent
    folder.rename(tmp_path / "moved")
    sink.write(stream.batch())
    sink.close()
    assert [(one.how, one.events.total()) for one in lost] == [(Gone.MOVED, 10)]
    (moved,) = list_run(tmp_path / "moved")
    assert verify(moved).good
    assert seqs(tmp_path / "moved") == list(range(1, 11))
    assert seqs(folder) == list(range(11, 21))


def test_a_file_with_somebody_elses_content_is_left_alone(stream, sink, lost, tmp_path):
    sink.write(stream.batch())
    path = sink.path
    (tmp_path / "other").write_bytes(b"theirs")
    (tmp_path / "other").replace(path)
    sink.write(stream.batch())
    sink.close()
    assert [(one.path, one.how, one.events.total()) for one in lost] == [(path, Gone.REPLACED, 10)]
    assert path.read_bytes() == b"theirs"
    assert sink.path != path


def test_of_a_file_that_was_cut_what_is_before_the_cut_counts(stream, sink, lost):
    sink.write(stream.batch())
    path, whole = sink.path, sink.bytes_written
    sink.write(stream.batch(5))
    os.truncate(path, whole + 20)
    sink.write(stream.batch())
    sink.close()
    assert [(one.how, one.events.total()) for one in lost] == [(Gone.CUT, 5)]
    assert path.stat().st_size == whole + 20
    assert seqs(path.parent) == [*range(1, 11), *range(16, 26)]


def test_closed_segments_that_went_with_the_folder_are_reported_too(stream, tmp_path, lost, clock):
    sink = FileSink(tmp_path, stream.header(), stream.types, max_age_s=1, clock=clock, on_vanished=lost.append)
    for _ in range(3):
        sink.write(stream.batch())
        clock.monotonic += 2_000_000_000
    shutil.rmtree(sink.path.parent)
    sink.write(stream.batch())
    sink.close()
    assert sum((one.events for one in lost), Counter()) == {1: 30}
    assert seqs(sink.path.parent) == list(range(31, 41))


@pytest.mark.parametrize("watch", [True, False])
def test_a_closed_segment_that_is_gone_is_reported_unless_somebody_may_take_it(stream, tmp_path, lost, watch):
    options = {"max_bytes": 1, "on_vanished": lost.append, "watch_earlier": watch}
    sink = FileSink(tmp_path, stream.header(), stream.types, **options)
    sink.write(stream.batch())
    sink.write(stream.batch())
    sink.paths[0].unlink()
    sink.close()
    assert sum(one.events.total() for one in lost) == (10 if watch else 0)


def test_what_retention_deletes_is_not_reported(stream, tmp_path, lost):
    sink = FileSink(
        tmp_path, stream.header(), stream.types, max_bytes=13_000, keep_bytes=40_000, on_vanished=lost.append
    )
    for _ in range(100):
        sink.write(stream.batch(10, size=300))
    sink.close()
    assert len(sink.paths) < 90
    assert not lost


def test_a_root_that_became_a_file_is_reported_once_and_tried_again(stream, sink, lost, tmp_path):
    sink.write(stream.batch())
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "runs").touch()
    batch = stream.batch()
    for _ in range(3):
        with pytest.raises(SinkError, match="cannot make the run folder"):
            sink.write(batch)
    (tmp_path / "runs").unlink()
    sink.write(batch)
    sink.close()
    assert [one.events.total() for one in lost] == [10]
    assert seqs(sink.path.parent) == list(range(11, 21))


def test_a_file_that_may_not_be_looked_at_is_written_on(stream, sink, lost):
    sink.write(stream.batch())
    sink.path.chmod(0)
    sink.write(stream.batch())
    sink.path.chmod(0o644)
    sink.close()
    assert not lost
    assert seqs(sink.path.parent) == list(range(1, 21))
