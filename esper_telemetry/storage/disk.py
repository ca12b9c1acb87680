"""The folder of an engine and the files below it, as the operating system shows them.

A folder is claimed for one process. A disk is measured, and tried after an error. A file that was reported as durable
is looked up by its name: an open descriptor proves nothing, because the file may have lost its name to another one.
What is inside a file is not read here.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.errors import ConfigError, SinkError
from esper_telemetry.recordfile.layout import MAX_FRAME_BYTES
from esper_telemetry.recordfile.lock import fcntl

if TYPE_CHECKING:
    from io import BufferedWriter
    from pathlib import Path


sync_data = getattr(os, "fdatasync", os.fsync)  # macOS has fsync only


LOCK_NAME = ".collector.lock"
_PROBE_NAME = ".collector.probe"
# Of readers, probes, the index and the interpreter.
_OTHER_FILES = 256


def claim_folder(directory: Path) -> BufferedWriter:
    """Make the folder and lock it until the returned file is closed: two collectors would write the same numbers.

    Raises:
        SinkError: the folder cannot be made or written.
        ConfigError: another collector uses it.
    """
    try:
        directory.mkdir(mode=0o750, exist_ok=True)
        lock = (directory / LOCK_NAME).open("ab")
    except OSError as error:
        raise SinkError(f"{directory}: cannot be used: {error}; check path and permissions") from error
    if fcntl is not None:
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise ConfigError(f"{directory}: another collector uses this folder; give each its own --dir") from None
    return lock


def check_claim(directory: Path, lock: BufferedWriter) -> None:
    """Check that a claimed folder is still where it was.

    A disk that is not mounted for a while, or a folder that was moved away, must not look like a folder whose files
    were deleted: what was durable would be given up, and new runs would go below the mount point.

    Args:
        directory: the folder.
        lock: what `claim_folder` returned for it.

    Raises:
        SinkError: it is gone, or another one has its name.
    """
    try:
        if Identity.of(directory / LOCK_NAME) == Identity.of(lock.fileno()):
            return
        why = f"its {LOCK_NAME} is another file"
    except OSError as error:
        why = str(error)
    raise SinkError(
        f"{directory}: the folder that this collector claimed is not there now ({why}); mount it or move it back, or"
        " restart the collector to begin with what is there"
    )


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
    """Allow as many open files as the system lets us: one for each connection, and segments (store.MOST_OPEN_FILES)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def too_few_files(connections: int, segments: int) -> str:
    """Return a sentence where this process may not open the files that it may need; empty where it may.

    Args:
        connections: most streams; each may come over a connection of its own.
        segments: most segments whose files are open at once.
    """
    limit, needed = resource.getrlimit(resource.RLIMIT_NOFILE)[0], connections + segments + _OTHER_FILES
    if limit == resource.RLIM_INFINITY or limit >= needed:
        return ""
    return (
        f"this process may open {limit:,} files; {connections:,} streams over connections of their own need {needed:,}:"
        " raise the limit (LimitNOFILE= in a unit, ulimit -n), or lower --max-streams"
    )


class Identity(NamedTuple):
    """Which file it is, whatever its name.

    Attributes:
        device, inode: as the operating system numbers them.
    """

    device: int
    inode: int

    @classmethod
    def of(cls, place: Path | int) -> Identity:
        """Return the identity of a file, by its path or descriptor.

        Raises:
            OSError: there is none.
        """
        found = os.fstat(place) if isinstance(place, int) else place.stat()
        return cls(found.st_dev, found.st_ino)


def absence(path: Path, identity: Identity, size: int) -> str:
    """Return what became of a file that should hold `size` bytes: "was removed", ...; empty if it is all there.

    Raises:
        SinkError: the operating system does not tell.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "was removed or moved away"
    except OSError as error:
        raise SinkError(f"{path}: cannot be looked up: {error}; check the disk and permissions") from error
    if (found.st_dev, found.st_ino) != identity:
        return "was replaced by another file"
    if found.st_size < size:
        return f"was cut to {found.st_size:,} of {size:,} bytes"
    return ""


def cut_file(path: Path, size: int, identity: Identity | None = None) -> None:
    """Cut `path` to `size` bytes and sync it, or remove it where nothing is to stay; a file that is gone is no error.

    Args:
        path: the file.
        size: bytes that stay.
        identity: of the file that is meant; another one of that name is left as it is.

    Raises:
        SinkError: the operating system refused.
    """
    try:
        if identity is not None and Identity.of(path) != identity:
            return
        if not size:
            path.unlink(missing_ok=True)
            return
        fd = os.open(path, os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise SinkError(f"{path}: cannot be opened to cut it to {size:,} bytes: {error}; check the disk") from error
    try:
        if os.fstat(fd).st_size > size:
            os.ftruncate(fd, size)
        sync_data(fd)
    except OSError as error:
        raise SinkError(f"{path}: cannot be cut to {size:,} bytes: {error}; check the disk") from error
    finally:
        os.close(fd)
