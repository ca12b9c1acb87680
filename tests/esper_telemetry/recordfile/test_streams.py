"""The streams of a run folder, told by the first bytes of their files."""

from __future__ import annotations

import pytest

from esper_telemetry.errors import CorruptRecordError, NotARecordError
from esper_telemetry.recordfile import HeaderInfo, RecordWriter, SegmentName, list_streams
from esper_telemetry.recordfile.run_folder import first_header

RUN = {"run_id": "run", "anchor_unix_nano": 1_795_386_808_000_000_000}


@pytest.fixture
def segment(tmp_path, small_types):
    """A function that opens a segment of a stream in the folder."""

    def open_segment(producer: int, number: int = 1, *, rank: int = 0, **header) -> RecordWriter:
        known = HeaderInfo(producer_id=bytes([producer]) * 16, segment=number, rank=rank, **RUN, **header)
        name = SegmentName.of("main", rank, known.anchor_unix_nano, known.producer_id, number)
        return RecordWriter(tmp_path / name.format(), known, small_types)

    return open_segment


def test_each_stream_is_given_once_with_its_attempt_and_launch(segment, tmp_path):
    for number in (1, 2, 3):
        segment(7, number, attempt=2, launch="slurm:1").abandon()
    segment(3, rank=1).abandon()
    found = {stream.header.rank: stream for stream in list_streams(tmp_path)}
    assert {rank: (stream.attempt, stream.header.launch) for rank, stream in found.items()} == {
        0: (2, "slurm:1"),
        1: (1, ""),
    }
    assert len(list_streams(tmp_path)) == 2


def test_a_stream_is_being_written_while_its_last_segment_is_locked(segment, tmp_path):
    segment(1, 1).close()
    writer = segment(1, 2)
    assert [stream.writing for stream in list_streams(tmp_path)] == [True]
    writer.abandon()
    assert [stream.writing for stream in list_streams(tmp_path)] == [False]


def test_a_file_that_does_not_say_its_attempt_is_of_the_first(segment, tmp_path):
    segment(1, attempt=0).close()
    assert [stream.attempt for stream in list_streams(tmp_path)] == [1]


def test_what_is_no_record_is_passed_over(segment, tmp_path):
    segment(1).close()
    (whole,) = tmp_path.iterdir()
    (tmp_path / "merged.esr.zst").write_bytes(whole.read_bytes())
    (tmp_path / "empty.esr.zst").touch()
    (tmp_path / "cut.esr.zst").write_bytes(whole.read_bytes()[:100])
    (tmp_path / "foreign.esr.zst").write_bytes(b"hello, world" * 10)
    (tmp_path / "folder.esr.zst").mkdir()
    (tmp_path / "dangling.esr.zst").symlink_to("nowhere")
    assert len(list_streams(tmp_path)) == 2


def test_a_folder_that_is_not_there_has_no_streams(tmp_path):
    assert list_streams(tmp_path / "nothing") == []


def test_why_a_file_has_no_header_is_said(segment, tmp_path):
    segment(1).close()
    (whole,) = tmp_path.iterdir()
    assert first_header(whole).run_id == "run"
    whole.write_bytes(whole.read_bytes()[:100])
    with pytest.raises(CorruptRecordError, match="not whole"):
        first_header(whole)
    whole.write_bytes(b"text")
    with pytest.raises(NotARecordError):
        first_header(whole)
