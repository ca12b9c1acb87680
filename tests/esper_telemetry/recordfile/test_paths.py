from __future__ import annotations

from pathlib import Path

import pytest

from esper_telemetry.errors import ConfigError, NotARecordError
from esper_telemetry.recordfile.paths import SegmentName, list_run, path_component


def test_a_segment_is_named_by_stream_rank_start_boot_and_number():
    name = SegmentName.of("main", 3, 1_795_386_808_123_456_789, bytes.fromhex("0a1b2c3dffff"), 12)
    assert name.format() == "main-r3-20261122T223328Z-0a1b2c3d-000012.esr.zst"
    assert SegmentName.parse(Path("/any/where") / name.format()) == name


@pytest.mark.parametrize(
    "other", ["main.esr.zst", "main-r3-2026-0a1b2c3d-000012.esr.zst", "notes.txt", "x.esr.zst.tmp"]
)
def test_other_files_are_not_taken_for_segments(other):
    assert SegmentName.parse(Path(other)) is None


@pytest.mark.parametrize("stream", ["a-r1-b", "with-dash", "x" * 128])
def test_a_stream_with_dashes_survives_the_round_trip(stream):
    name = SegmentName.of(stream, 0, 0, b"\x01\x02\x03\x04", 1)
    assert SegmentName.parse(Path(name.format())) == name


@pytest.mark.parametrize("bad", ["", "..", "a/b", ".hidden", "a b", "-x", "nul\0", "x" * 129, "ü"])
def test_a_name_that_could_leave_its_folder_is_refused(bad):
    with pytest.raises(ConfigError, match="stream"):
        path_component("stream", bad)


def test_a_run_folder_is_listed_by_stream_rank_and_segment(tmp_path):
    wanted = [
        SegmentName("main", 0, "20260101T000000Z", "00000001", 1),
        SegmentName("main", 0, "20260101T000000Z", "00000001", 2),
        SegmentName("main", 2, "20260101T000000Z", "00000001", 1),
        SegmentName("main", 10, "20260101T000000Z", "00000001", 1),
    ]
    for name in reversed(wanted):
        (tmp_path / name.format()).touch()
    (tmp_path / "foreign.esr.zst").touch()
    (tmp_path / "notes.txt").touch()
    assert [path.name for path in list_run(tmp_path)] == [*(name.format() for name in wanted), "foreign.esr.zst"]
    assert [wanted[0].same_stream(name) for name in wanted] == [True, True, False, False]


def test_a_file_stands_for_itself(tmp_path):
    file = tmp_path / "anything"
    file.touch()
    assert list_run(file) == [file]


def test_a_path_without_records_is_refused_with_the_next_step(tmp_path):
    with pytest.raises(NotARecordError, match="no such file or folder"):
        list_run(tmp_path / "missing")
    with pytest.raises(NotARecordError, match=r"holds no \.esr\.zst"):
        list_run(tmp_path)
    (tmp_path / "run7").mkdir()
    (tmp_path / "run7" / "x.esr.zst").touch()
    with pytest.raises(NotARecordError, match="it has run folders: run7"):
        list_run(tmp_path)
