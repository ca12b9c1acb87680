"""Cutting what another consumer stored again: real segments, cut at every frame, read by the ordinary reader."""

import pytest

from esper_telemetry.recordfile import RecordReader
from esper_telemetry.storage.engine import CutBack, PutFrame, Seal
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.storage.producer_files import ProducerFiles
from esper_telemetry.storage.published import SUPERSEDED
from tests.esper_telemetry.collector.publisher import Produced, stored
from tests.esper_telemetry.jetstream.test_entries import put_frame
from tests.esper_telemetry.jetstream.test_gateway import schema_of


@pytest.fixture(scope="module")
def produced():
    return Produced(frames=4)


@pytest.fixture
def files(tmp_path, produced) -> ProducerFiles:
    """Two segments of two frames each."""
    files = ProducerFiles(tmp_path, ProducerKey(produced.run_id, produced.producer_id))
    files.apply(schema_of(produced))
    for items in ((0, 1), (2, 3)):
        for number in items:
            files.apply(put_frame(produced, number))
        files.sync()
        files.apply(Seal())
    return files


@pytest.mark.parametrize("frames", range(5))
def test_what_comes_after_the_last_number_that_counts_is_taken_away(files, produced, tmp_path, frames):
    files.apply(CutBack(frames * 25))
    assert stored(tmp_path, produced) == produced.raw[:frames]
    assert files.numbers.durable_seq == frames * 25
    assert [segment.last_seq for segment in files.published] == [
        min(n, frames * 25) for n in (50, 100) if n - 50 < frames * 25
    ]
    for path in tmp_path.glob("*/*.esr.zst"):
        with RecordReader(path) as reader:
            assert reader.closed, "it is sealed again"
    assert len(list(tmp_path.glob("*/*" + SUPERSEDED))) == 2 - len(files.published), "renamed, not deleted"


def test_what_is_open_is_sealed_first(files, produced, tmp_path):
    files.go_on(100, 2, b"")
    later = put_frame(produced, 3)
    moved = PutFrame(later.payload, later.desc._replace(first_seq=101, last_seq=125))
    files.apply(moved)
    files.apply(CutBack(75))
    assert not files.is_open
    assert stored(tmp_path, produced) == produced.raw[:3]


def test_a_file_goes_on_behind_what_another_consumer_stored(tmp_path, produced):
    files = ProducerFiles(tmp_path, ProducerKey(produced.run_id, produced.producer_id))
    files.go_on(50, 7, b"f" * 16)
    files.apply(schema_of(produced))
    files.apply(put_frame(produced, 2))
    files.apply(Seal())
    (path,) = tmp_path.glob("*/*.esr.zst")
    with RecordReader(path) as reader:
        header = reader.header
        assert (header.segment, header.previous_last_seq, header.previous_file_id) == (8, 50, b"f" * 16)
    assert files.tail == (8, header.file_id)
