from __future__ import annotations

import os
from pathlib import Path

import pytest

from esper_telemetry.errors import NotARecordError, RecordError
from esper_telemetry.recordfile.source import BytesSource, FileSource, LastRead, OpenFiles, open_source


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


def test_a_pipe_and_a_device_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(NotARecordError, match="a pipe or a device"):
            FileSource(path)


def test_few_files_are_open_however_many_are_read(tmp_path):
    files = OpenFiles(3)
    sources = []
    for number in range(20):
        (tmp_path / str(number)).write_bytes(bytes([number]) * 4)
        sources.append(FileSource(tmp_path / str(number), files))
    for number in (*range(20), 0, 19, 0, 7):
        assert sources[number].read_at(1, 2) == bytes([number]) * 2
        assert sources[number].size == 4
        assert sum(not source._file.closed for source in sources) <= 3
    for source in sources:
        source.close()
    assert all(source._file.closed for source in sources)


def test_a_file_that_is_closed_leaves_its_place_to_another(tmp_path):
    files = OpenFiles(2)
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).write_bytes(name.encode())
    kept, done = FileSource(tmp_path / "a", files), FileSource(tmp_path / "b", files)
    done.close()
    FileSource(tmp_path / "c", files)
    (tmp_path / "d").rename(tmp_path / "a")
    assert kept.read_at(0, 1) == b"a"  # it was never closed, so nothing had to be opened again


def test_a_file_that_was_closed_meanwhile_must_still_be_the_same(tmp_path):
    files = OpenFiles(1)
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"abc")
    first = FileSource(tmp_path / "a", files)
    FileSource(tmp_path / "b", files)
    (tmp_path / "b").rename(tmp_path / "a")
    with pytest.raises(RecordError, match="replaced by another file"):
        first.read_at(0, 1)
    (tmp_path / "a").unlink()
    with pytest.raises(NotARecordError, match="no such file"):
        first.read_at(0, 1)


def test_the_limit_of_the_process_is_said_where_it_is_the_reason(tmp_path, mocker):
    mocker.patch("os.open", side_effect=OSError(24, "Too many open files"))
    with pytest.raises(RecordError, match="ulimit -n"):
        FileSource(tmp_path / "x")


def test_what_was_read_last_is_cut_from_memory():
    class Counting(BytesSource):
        reads = 0

        def read_at(self, offset, count):
            self.reads += 1
            return super().read_at(offset, count)

    source = Counting(bytes(range(100)))
    kept = LastRead(source)
    assert kept.read_at(10, 50) == bytes(range(10, 60))
    assert kept.view_at(10, 50) == bytes(range(10, 60))
    assert kept.view_at(59, 1) == b"\x3b"
    assert source.reads == 1
    assert kept.view_at(59, 2) == b"\x3b\x3c"
    assert kept.view_at(9, 2) == b"\x09\x0a"
    assert source.reads == 3
    assert kept.view_at(99, 5) == b"\x63"
