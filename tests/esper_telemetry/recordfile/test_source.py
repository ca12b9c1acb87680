from __future__ import annotations

import os

import pytest

from esper_telemetry.errors import NotARecordError, RecordError
from esper_telemetry.recordfile.source import BytesSource, FileSource, open_source


@pytest.fixture(params=["file", "bytes"])
def source(request, tmp_path):
    if request.param == "bytes":
        return BytesSource(b"0123456789")
    (tmp_path / "file").write_bytes(b"0123456789")
    return FileSource(tmp_path / "file")


def test_bytes_are_read_by_position_and_end_with_the_file(source):
    assert source.size == 10
    assert source.read_at(3, 4) == b"3456"
    assert source.read_at(8, 10) == b"89"
    assert source.read_at(50, 10) == b""
    source.close()


def test_a_file_that_grows_is_larger(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    source = open_source(path)
    with path.open("ab") as file:
        file.write(b"def")
    assert source.size == 6
    assert source.read_at(0, 100) == b"abcdef"
    source.close()


def test_anything_that_names_or_holds_bytes_can_be_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    held = BytesSource(b"abc")
    for given in (str(tmp_path / "file"), tmp_path / "file", b"abc", held):
        opened = open_source(given)
        assert opened.read_at(0, 3) == b"abc"
        opened.close()
    assert open_source(held) is held


def test_what_cannot_be_opened_is_refused_with_its_path(tmp_path):
    with pytest.raises(NotARecordError, match="no such file"):
        FileSource(tmp_path / "missing")
    with pytest.raises(NotARecordError, match="folder"):
        FileSource(tmp_path)
    if os.geteuid():
        (tmp_path / "locked").touch(0o000)
        with pytest.raises(RecordError, match="check permissions"):
            FileSource(tmp_path / "locked")


def test_a_read_that_fails_names_its_place(tmp_path, mocker):
    (tmp_path / "file").write_bytes(b"abc")
    source = FileSource(tmp_path / "file")
    source.close()
    source._file = mocker.Mock(**{"read.side_effect": OSError(5, "Input/output error")})
    with pytest.raises(RecordError, match="at byte 1: cannot be read: Input/output error"):
        source.read_at(1, 1)
