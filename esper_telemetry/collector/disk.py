"""The collector's folder and the disk below it: claimed for one process, watched, tried after an error."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
from typing import TYPE_CHECKING

from esper_telemetry.errors import ConfigError, SinkError
from esper_telemetry.recordfile.layout import MAX_FRAME_BYTES
from esper_telemetry.recordfile.lock import fcntl

if TYPE_CHECKING:
    from io import BufferedWriter
    from pathlib import Path

_LOCK_NAME = ".collector.lock"
_PROBE_NAME = ".collector.probe"


def claim_folder(directory: Path) -> BufferedWriter:
    """Make the folder and lock it until the returned file is closed: two collectors would write the same numbers.

    Raises:
        SinkError: the folder cannot be made or written.
        ConfigError: another collector uses it.
    """
    try:
        directory.mkdir(mode=0o750, exist_ok=True)
        lock = (directory / _LOCK_NAME).open("ab")
    except OSError as error:
        raise SinkError(f"{directory}: cannot be used: {error}; check path and permissions") from error
    if fcntl is not None:
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise ConfigError(f"{directory}: another collector uses this folder; give each its own --dir") from None
    return lock


def try_storage(directory: Path, failed: bool) -> tuple[float, str]:
    """Return the free part of the disk, of its bytes or its inodes, whichever is less, and what is wrong with it.

    After an error a file as large as the largest frame is written to find out: a disk that takes 4 KiB, or a limit on
    the size of files, may refuse frames all the same.
    """
    try:
        usage, inodes = shutil.disk_usage(directory), os.statvfs(directory)
        if failed:
            probe = directory / _PROBE_NAME
            with probe.open("wb") as file:
                file.write(random.randbytes(MAX_FRAME_BYTES))  # noqa: S311 - bytes that no file system can leave out
                file.flush()
                os.fsync(file.fileno())
            probe.unlink()
    except OSError as error:
        with contextlib.suppress(OSError):
            (directory / _PROBE_NAME).unlink()
        return 0.0, f"{directory}: {error}"
    free = usage.free / usage.total if usage.total else 0.0
    return min(free, inodes.f_favail / inodes.f_files if inodes.f_files else 1.0), ""


def raise_file_limit() -> None:
    """Allow as many open files as the system lets us: one for each producer, one for each connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
