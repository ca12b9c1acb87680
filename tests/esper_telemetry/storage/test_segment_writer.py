import os
import resource
import signal
import tracemalloc
from contextlib import contextmanager

import pytest

from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile import RecordReader, Skip, SkipReason, append
from esper_telemetry.recordfile.append import sync_folder
from esper_telemetry.recordfile.verification import verify
from esper_telemetry.storage.disk import cut_file
from esper_telemetry.storage.segment_writer import OWNER_ATTRIBUTE, SegmentWriter, own_header
from esper_telemetry.v1 import record_pb2
from tests.esper_telemetry.collector.publisher import Produced


@pytest.fixture(scope="module")
def produced():
    return Produced(frames=5, per_frame=30)


def start(path, produced, last_seq=0, segment=1) -> SegmentWriter:
    return SegmentWriter(path, own_header(produced.schema.header, segment, b"", last_seq), [].append)


def fill(appender, produced, frames) -> None:
    for number in frames:
        appender.append([(produced.raw[number], produced.refs[number].descriptor)])


@contextmanager
def files_end_at(size: int):
    """Let the operating system refuse to write beyond `size`."""
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_sealed_segment_holds_the_frames_byte_for_byte_and_passes_verification(tmp_path, produced):
    path = tmp_path / "a.esr.zst"
    appender = start(path, produced)
    fill(appender, produced, range(5))
    appender.seal()
    with RecordReader(path) as reader:
        assert reader.closed
        assert [reader.read_raw(ref) for ref in reader.frames()] == produced.raw
        assert reader.records == 150
    assert verify(path).good


def test_the_header_is_the_producers_with_the_collectors_own_identity(tmp_path, produced):
    path = tmp_path / "a.esr.zst"
    start(path, produced, last_seq=7, segment=3).seal()
    with RecordReader(path) as reader:
        own, theirs = reader.header, produced.schema.header
        assert (own.run_id, own.producer_id, own.host) == (theirs.run_id, theirs.producer_id, theirs.host)
        assert own.file_id != theirs.file_id
        assert (own.segment, own.previous_last_seq) == (3, 7)
        assert own.attributes[OWNER_ATTRIBUTE].startswith("esper-telemetry-python/")
        assert reader.types == {1: "esper_telemetry.v1.ScalarLogged"}


@pytest.mark.parametrize("place", [0, 2, 5])
def test_a_further_header_declares_what_follows_it(tmp_path, produced, place):
    path = tmp_path / "a.esr.zst"
    appender = start(path, produced)
    fill(appender, produced, range(place))
    appender.append_skip(Skip(place * 30 + 1, place * 30 + 1, SkipReason.CORRUPT))
    for number in (7, 8):
        appender.append_header(
            record_pb2.Header(types=[{"type_id": number, "full_name": "esper_telemetry.v1.Context"}])
        )
    appender.append_skip(Skip(place * 30 + 2, place * 30 + 2, SkipReason.CORRUPT))
    appender.seal()
    with RecordReader(path) as reader:
        assert reader.closed
        assert list(reader.types) == [1, 7, 8]
        assert [reader.read_raw(ref) for ref in reader.frames()] == produced.raw[:place]
        assert list(reader.index.header_offsets) == [offset for offset, _ in reader.segments[0].headers[1:]]
    assert verify(path).good


def test_a_segment_can_be_read_at_every_moment(tmp_path, produced):
    path = tmp_path / "a.esr.zst"
    appender = start(path, produced)
    for number in range(5):
        fill(appender, produced, [number])
        with RecordReader(path) as reader:
            assert reader.truncation is None
            assert len(list(reader.frames())) == number + 1
    appender.seal()


def test_skipped_numbers_are_marked(tmp_path, produced):
    path = tmp_path / "a.esr.zst"
    appender = start(path, produced)
    fill(appender, produced, [0])
    appender.append_skip(Skip(31, 60, SkipReason.SPOOL_LOST))
    fill(appender, produced, [2])
    appender.seal()
    with RecordReader(path) as reader:
        assert reader.segments[0].skips == [Skip(31, 60, SkipReason.SPOOL_LOST)]
        assert not reader.damage
    assert verify(path).good


def test_skips_between_frames_and_at_both_ends_are_listed_where_they_stand(tmp_path, produced):
    path = tmp_path / "a.esr.zst"
    appender = start(path, produced)
    appender.append_skip(Skip(1, 10, SkipReason.SPOOL_LOST))
    appender.append_skip(Skip(11, 30, SkipReason.CORRUPT))
    fill(appender, produced, [1, 2])
    appender.append_skip(Skip(91, 99, SkipReason.TOO_BIG))
    appender.seal()
    with RecordReader(path) as reader:
        assert reader.closed
        assert [reader.read_raw(ref) for ref in reader.frames()] == produced.raw[1:3]
        assert [(skip.first_seq, skip.last_seq) for skip in reader.segments[0].skips] == [(1, 10), (11, 30), (91, 99)]
    assert verify(path).good


def test_a_segment_that_is_written_needs_little_memory_for_each_frame(tmp_path, produced):
    appender = start(tmp_path / "a.esr.zst", produced)
    fill(appender, produced, [0])
    tracemalloc.start()
    fill(appender, produced, [0] * 5000)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 5000 * 100


def test_cutting_back_leaves_what_a_sync_has_covered(tmp_path, produced):
    path = tmp_path / "a.esr.zst"
    appender = start(path, produced)
    fill(appender, produced, [0, 1])
    appender.sync()
    fill(appender, produced, [2])
    assert appender.synced_size < appender.size
    appender.cut_back()
    with RecordReader(path) as reader:
        assert reader.records == 60
        assert reader.truncation is None


def test_cutting_back_what_was_never_synced_leaves_no_file(tmp_path, produced):
    path = tmp_path / "a.esr.zst"
    appender = start(path, produced)
    fill(appender, produced, [0])
    appender.cut_back()
    assert not path.exists()


def test_a_full_disk_is_an_error_and_what_was_synced_stays(tmp_path, produced):
    path = tmp_path / "a.esr.zst"
    appender = start(path, produced)
    fill(appender, produced, [0])
    appender.sync()
    with files_end_at(appender.size + 50), pytest.raises(SinkError, match="cannot write"):
        fill(appender, produced, [1])
    appender.cut_back()
    with RecordReader(path) as reader:
        assert reader.records == 30


def test_a_segment_that_cannot_be_started_leaves_no_file(tmp_path, produced):
    path = tmp_path / "a.esr.zst"
    with files_end_at(100), pytest.raises(SinkError):
        start(path, produced)
    assert not path.exists()


def test_cutting_a_file_that_is_gone_is_no_error_and_a_folder_is_one(tmp_path):
    cut_file(tmp_path / "gone", 10)
    cut_file(tmp_path / "gone", 0)
    with pytest.raises(SinkError):
        cut_file(tmp_path, 10)
    sync_folder(tmp_path)
    with pytest.raises(SinkError):
        sync_folder(tmp_path / "gone")


def test_a_footer_is_written_only_when_everything_before_it_is_on_the_disk(tmp_path, produced, monkeypatch):
    synced = []
    monkeypatch.setattr(append, "_sync_data", lambda fd: synced.append(os.fstat(fd).st_size))
    appender = start(tmp_path / "a.esr.zst", produced)
    fill(appender, produced, range(3))
    before = appender.size
    appender.seal()
    assert synced == [before, appender.size]
    assert before < appender.size
