from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

import pytest

from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile.append import AppendFile, Gone, sync_folder


@pytest.fixture
def file(tmp_path):
    return AppendFile(tmp_path / "file")


def test_bytes_are_appended_in_order(file):
    file.append(b"one")
    file.append(b"two")
    file.sync()
    file.close()
    assert file.path.read_bytes() == b"onetwo"
    assert file.size == 6
    assert file.closed


def test_short_writes_are_continued(file, mocker):
    real = os.write
    mocker.patch("esper_telemetry.recordfile.append.os.write", lambda fd, data: real(fd, data[:7]))
    file.append(bytes(range(100)))
    assert file.path.read_bytes() == bytes(range(100))


def test_many_pieces_are_one_write_and_end_up_in_order(file, mocker):
    pieces = [bytes([n]) * 50 for n in range(200)]
    spy = mocker.spy(os, "writev")
    file.append(*pieces)
    assert spy.call_count == 1
    assert file.path.read_bytes() == b"".join(pieces)
    assert file.size == 10_000


@pytest.mark.parametrize("taken", [0, 7, 50, 120, 9_999])
def test_a_short_write_of_many_pieces_is_continued(file, mocker, taken):
    pieces = [bytes([n]) * 50 for n in range(200)]
    mocker.patch("os.writev", lambda fd, given: os.write(fd, b"".join(given)[:taken]) if taken else 0)
    file.append(*pieces)
    assert file.path.read_bytes() == b"".join(pieces)


def test_more_pieces_than_one_write_takes_are_appended_all(file):
    file.append(*[b"ab"] * 3000)
    assert file.path.read_bytes() == b"ab" * 3000


def test_many_pieces_of_which_one_does_not_fit_leave_nothing(file, mocker):
    file.append(b"good")

    def full(fd, pieces):
        os.write(fd, pieces[0])
        raise OSError(errno.ENOSPC, "full")

    mocker.patch("os.writev", full)
    with pytest.raises(SinkError, match="full; free space"):
        file.append(b"one", b"two")
    assert file.path.read_bytes() == b"good"
    assert file.size == 4


def test_an_existing_file_is_refused(file):
    with pytest.raises(SinkError, match="exists already and is never overwritten; choose another name"):
        AppendFile(file.path)


def test_a_missing_folder_is_refused_with_the_next_step(tmp_path):
    with pytest.raises(SinkError, match="check folder and permissions"):
        AppendFile(tmp_path / "missing" / "file")


def test_a_failed_append_leaves_nothing_of_itself(file, mocker):
    file.append(b"good")
    real = os.write
    taken = [4]

    def full_after_four(fd, data):
        if not taken:
            raise OSError(errno.ENOSPC, "full")
        return real(fd, data[: taken.pop()])

    mocker.patch("esper_telemetry.recordfile.append.os.write", full_after_four)
    with pytest.raises(SinkError, match="full; free space"):
        file.append(b"halfway")
    mocker.stopall()
    assert file.path.read_bytes() == b"good"
    file.append(b"next")
    assert file.path.read_bytes() == b"goodnext"


def test_discard_removes_the_file(file):
    file.append(b"x")
    file.discard()
    assert not file.path.exists()
    with pytest.raises(SinkError, match="closed"):
        file.append(b"y")
    with pytest.raises(SinkError, match="closed"):
        file.sync()


def test_a_fork_child_has_no_open_file(file):
    pid = os.fork()
    if not pid:
        os._exit(0 if file.closed else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not file.closed
    file.append(b"parent")


def move(path):
    path.rename(path.with_name("elsewhere"))


def replace(path):
    other = path.with_name("other")
    other.write_bytes(b"somebody else's")
    other.replace(path)


def move_folder(path):
    path.parent.rename(path.parent.with_name("away"))


def put_a_file_where_the_folder_was(path):
    shutil.rmtree(path.parent)
    path.parent.touch()


@pytest.mark.parametrize(
    ("act", "gone"),
    [
        (lambda path: path.unlink(), Gone.REMOVED),
        (lambda path: shutil.rmtree(path.parent), Gone.REMOVED),
        (put_a_file_where_the_folder_was, Gone.REMOVED),
        (move, Gone.MOVED),
        (move_folder, Gone.MOVED),
        (replace, Gone.REPLACED),
        (lambda path: os.truncate(path, 3), Gone.CUT),
        (lambda path: os.truncate(path, 0), Gone.CUT),
        (lambda path: path.chmod(0), None),
        (lambda path: os.link(path, path.with_name("backup")), None),
        (os.utime, None),
    ],
    ids=["removed", "folder removed", "folder became a file", "moved", "folder moved", "replaced", "cut", "emptied",
         "made unreadable", "linked", "touched"],
)  # fmt: skip
def test_what_somebody_does_to_the_file_is_noticed(tmp_path, act, gone):
    folder = tmp_path / "run"
    folder.mkdir()
    file = AppendFile(folder / "file")
    file.append(b"what was written")
    assert file.gone() is None
    act(file.path)
    assert file.gone() is gone
    file.close()
    assert file.gone() is None, "a closed file is nobody's to watch"


def test_a_file_whose_number_changes_by_itself_is_still_the_same(file, mocker):
    file.append(b"x")
    mocker.patch("os.path.samestat", return_value=False)  # some network systems number files anew
    assert file.gone() is None


def test_a_folder_is_synced_and_one_that_is_gone_is_an_error_where_it_must_be_there(tmp_path):
    sync_folder(tmp_path)
    assert str(tmp_path) not in open_files()
    sync_folder(tmp_path / "gone", required=False)
    with pytest.raises(SinkError, match="gone: cannot open the folder to sync it"):
        sync_folder(tmp_path / "gone")


def test_a_file_that_was_paused_needs_no_descriptor_and_goes_on_where_it_was(file):
    file.append(b"one")
    file.sync()
    file.pause()
    assert not file.closed
    assert str(file.path) not in open_files()
    file.append(b"two")
    assert str(file.path) in open_files()
    file.pause()
    file.pause()
    file.sync()
    file.close()
    assert file.closed
    assert file.path.read_bytes() == b"onetwo"


@pytest.mark.parametrize("change", ["removed", "replaced", "cut", "longer"])
def test_a_file_that_changed_while_it_was_paused_is_not_appended_to(file, change):
    file.append(b"one")
    file.pause()
    if change == "cut":
        os.truncate(file.path, 1)
    elif change == "longer":
        with file.path.open("ab") as other:
            other.write(b"more")
    else:
        file.path.rename(file.path.with_name("aside"))
    if change == "replaced":
        file.path.write_bytes(b"one")
    before = file.path.read_bytes() if file.path.exists() else None
    with pytest.raises(SinkError, match=r"cannot be opened again|was replaced or cut while it was not open"):
        file.append(b"two")
    assert (file.path.read_bytes() if file.path.exists() else None) == before


def open_files() -> set[str]:
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(str(link.readlink()))
    return found
