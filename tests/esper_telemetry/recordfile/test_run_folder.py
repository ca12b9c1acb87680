"""What a run folder holds, and what only looks like a record in it."""

from __future__ import annotations

import os
import socket

import pytest

from esper_telemetry.errors import NotARecordError
from esper_telemetry.recordfile import SegmentName, list_run, look_into

NAME = SegmentName("main", 0, "20260101T000000Z", "00000001", 1).format()


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


def passed_over(folder) -> dict[str, str]:
    return {one.path.name: one.reason for one in look_into(folder).passed_over}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (f"._{NAME}", "it is hidden"),
        (f".{NAME}.Xy12ab", "it is hidden"),
        (".nfs00000000012ab", "it was removed while a process had it open"),
        (f"{NAME}.part", "a copy that is not complete, or a backup"),
        (f"{NAME}~", "a copy that is not complete, or a backup"),
        (f"{NAME}.tmp", "a copy that is not complete, or a backup"),
    ],
)
def test_a_name_that_no_writer_gives_is_passed_over_with_its_reason(tmp_path, name, reason):
    (tmp_path / NAME).touch()
    (tmp_path / name).touch()
    assert [path.name for path in look_into(tmp_path).records] == [NAME]
    assert reason in passed_over(tmp_path)[name]


@pytest.mark.parametrize("name", ["x (conflicted copy).esr.zst", f"{NAME[:-8]} 2.esr.zst"])
def test_a_copy_may_be_a_record_its_content_decides(tmp_path, name):
    (tmp_path / name).touch()
    assert [path.name for path in look_into(tmp_path).records] == [name]


def test_what_is_no_file_is_passed_over_without_being_opened(tmp_path):
    (tmp_path / NAME).touch()
    (tmp_path / "folder.esr.zst").mkdir()
    (tmp_path / "link.esr.zst").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop.esr.zst").symlink_to(tmp_path / "loop.esr.zst")
    os.mkfifo(tmp_path / "pipe.esr.zst")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.esr.zst"))
        found = passed_over(tmp_path)
    assert found.keys() == {f"{name}.esr.zst" for name in ("folder", "link", "loop", "pipe", "socket")}
    assert found["link.esr.zst"] == "it is a link to nothing"
    assert "not a file" in found["pipe.esr.zst"]
    assert [path.name for path in list_run(tmp_path)] == [NAME]


def test_a_link_to_a_record_is_one_and_other_files_are_nobodys_business(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / NAME).touch()
    run = tmp_path / "run"
    run.mkdir()
    (run / NAME).symlink_to(tmp_path / "store" / NAME)
    for name in ("agent.log", "notes.txt", "model.zst"):
        (run / name).touch()
    found = look_into(run)
    assert [path.name for path in found.records] == [NAME]
    assert not found.passed_over
