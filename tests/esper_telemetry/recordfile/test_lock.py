from __future__ import annotations

import os
import subprocess
import sys

import pytest

from esper_telemetry.recordfile.lock import is_locked, lock_exclusive, writer_gone


def test_a_lock_is_held_by_its_process_and_gone_with_it(tmp_path):
    path = tmp_path / "segment"
    path.touch()
    code = (
        "import os, sys; from esper_telemetry.recordfile.lock import lock_exclusive;"
        "lock_exclusive(os.open(sys.argv[1], os.O_RDWR)); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert not writer_gone(path)
        process.kill()
        process.wait()
    assert writer_gone(path)


def test_asking_does_not_take_the_lock(tmp_path):
    path = tmp_path / "segment"
    path.touch()
    assert writer_gone(path)
    fd = os.open(path, os.O_RDWR)
    lock_exclusive(fd)
    assert not writer_gone(path)
    assert is_locked(path)
    os.close(fd)
    assert not is_locked(path)


def test_a_missing_file_is_an_error_of_the_system(tmp_path):
    for ask in (writer_gone, is_locked):
        with pytest.raises(FileNotFoundError):
            ask(tmp_path / "missing")


def test_where_there_are_no_locks_nobody_is_told_to_write_or_to_be_gone(tmp_path, mocker):
    path = tmp_path / "segment"
    path.touch()
    mocker.patch("fcntl.flock", side_effect=OSError("no locks here"))
    assert not is_locked(path)
    assert not writer_gone(path)
    mocker.patch("esper_telemetry.recordfile.lock.fcntl", None)
    assert not is_locked(path)
    assert not writer_gone(path)
