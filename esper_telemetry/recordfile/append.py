"""A file that only grows: created new, locked, appended to in whole writes, cut back when one fails.

A file may be paused: it needs no descriptor then, and is opened again by the next write, if it is still the same one.

What was appended before a failure stays; nothing of the failed piece does. Every write goes to the end, so a
file that another process cuts is shorter than it should be from then on. Whether its name still leads to it is for
the owner to ask. It knows bytes, not records.
"""

from __future__ import annotations

import contextlib
import errno
import os
import weakref
from enum import StrEnum
from typing import TYPE_CHECKING

from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile.lock import lock_exclusive

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_sync_data = getattr(os, "fdatasync", os.fsync)  # macOS and Windows have fsync only
# What systems that cannot sync a folder answer; everything else is a failure of the disk.
_CANNOT_SYNC_FOLDERS = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM, errno.EROFS})
_MOST_PIECES = 1024  # IOV_MAX of Linux and macOS


class Gone(StrEnum):
    """What another process did to a file that was being written."""

    REMOVED = "removed"
    MOVED = "moved"
    REPLACED = "replaced"
    CUT = "cut"


class AppendFile:
    """A new file, held with the writer's lock until it is closed.

    Args:
        path: the file to create.

    Raises:
        SinkError: it exists already, or cannot be created.

    Attributes:
        path: the file.
        size: bytes appended so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._torn = False
        self._paused: tuple[int, int] | None = None
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        try:
            self._fd: int | None = os.open(path, flags, 0o644)
        except FileExistsError:
            raise SinkError(f"{path}: exists already and is never overwritten; choose another name") from None
        except OSError as error:
            raise SinkError(f"{path}: cannot create the record: {error}; check folder and permissions") from error
        lock_exclusive(self._fd)
        _open_files.add(weakref.ref(self, _open_files.discard))

    @property
    def closed(self) -> bool:
        """Whether the file is closed; one that is paused is not."""
        return self._fd is None and self._paused is None

    @property
    def paused(self) -> bool:
        """Whether it needs no descriptor now."""
        return self._paused is not None

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the open file.

        Raises:
            SinkError: it is closed.
        """
        found = os.fstat(self._descriptor())
        return found.st_dev, found.st_ino

    def append(self, *pieces: bytes | memoryview) -> None:
        """Append `pieces` one after the other, in one write.

        Raises:
            SinkError: the operating system refused; nothing of `pieces` is in the file.
        """
        fd = self._descriptor()
        try:
            if self._torn:
                self._cut_back(fd)
            for start in range(0, len(pieces), _MOST_PIECES):
                _write(fd, pieces[start : start + _MOST_PIECES])
        except OSError as error:
            self._torn = True
            with contextlib.suppress(OSError):
                self._cut_back(fd)
            raise SinkError(f"{self.path}: cannot write: {error}; free space or repair the disk") from error
        self.size += sum(map(len, pieces))

    def sync(self) -> None:
        """Force what was appended to the disk.

        Raises:
            SinkError: the operating system refused.
        """
        try:
            _sync_data(self._descriptor())
        except OSError as error:
            raise SinkError(f"{self.path}: cannot sync: {error}; check the disk") from error

    def pause(self) -> None:
        """Need no descriptor until the file is written again; the lock is released meanwhile. Sync it before."""
        if self._fd is not None and not self._torn:
            identity = self.identity
            self.close()
            self._paused = identity

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._paused = None
        if self._fd is not None:
            fd, self._fd = self._fd, None
            with contextlib.suppress(OSError):
                os.close(fd)

    def discard(self) -> None:
        """Close the file and remove it."""
        self.close()
        with contextlib.suppress(OSError):
            self.path.unlink()

    def gone(self) -> Gone | None:
        """Return what another process did to the file; None while its name leads to all that was appended."""
        if self._fd is None:
            return None
        try:
            mine = os.fstat(self._fd)
        except OSError as error:
            return Gone.REMOVED if error.errno == errno.ESTALE else None
        try:
            there = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return Gone.MOVED if mine.st_nlink else Gone.REMOVED
        except OSError:  # looking is not allowed: writing still is
            return None if mine.st_nlink else Gone.REMOVED
        if not os.path.samestat(mine, there) and _differ(mine, there):
            return Gone.REPLACED
        return Gone.CUT if mine.st_size < self.size else None

    def size_there(self) -> int:
        """Return the bytes that the file has now, whatever was appended; 0 if that is unknown."""
        try:
            return os.fstat(self._descriptor()).st_size
        except OSError:
            return 0

    def _cut_back(self, fd: int) -> None:
        os.ftruncate(fd, self.size)
        self._torn = False

    def _descriptor(self) -> int:
        if self._fd is None and self._paused is not None:
            self._fd = self._reopened(self._paused)
            self._paused = None
        if self._fd is None:
            raise SinkError(f"{self.path}: the record is closed")
        return self._fd

    def _reopened(self, identity: tuple[int, int]) -> int:
        flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        try:
            fd = os.open(self.path, flags)
        except OSError as error:
            raise SinkError(f"{self.path}: cannot be opened again: {error}; check the folder") from error
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) != identity or found.st_size != self.size:
            os.close(fd)
            raise SinkError(f"{self.path}: was replaced or cut while it was not open; nothing is appended to it")
        lock_exclusive(fd)
        return fd


def _differ(mine: os.stat_result, there: os.stat_result) -> bool:
    """Tell two files apart where inode numbers may change by themselves, as some network systems have them."""
    return not mine.st_nlink or (mine.st_size, mine.st_mtime_ns) != (there.st_size, there.st_mtime_ns)


def _write(fd: int, pieces: Sequence[bytes | memoryview]) -> None:
    written = os.writev(fd, pieces) if len(pieces) > 1 and hasattr(os, "writev") else 0
    for piece in pieces:
        view = memoryview(piece)[written:]
        written = max(0, written - len(piece))
        while view:  # a short write is legal: on a signal, or just before a full disk
            view = view[os.write(fd, view) :]


def sync_folder(folder: Path, *, required: bool = True) -> None:
    """Make the names in a folder durable: a new, renamed or removed file is known by its name only after that.

    Args:
        folder: the folder.
        required: it must be there, on a system that can sync folders. Without that, a folder that is gone and a system
            that cannot are passed over; a failure of the disk is an error either way.

    Raises:
        SinkError: the operating system refused.
    """
    try:
        fd = os.open(folder, os.O_RDONLY)
    except OSError as error:
        if required:
            raise SinkError(f"{folder}: cannot open the folder to sync it: {error}; check the disk") from error
        return
    try:
        os.fsync(fd)
    except OSError as error:
        if required or error.errno not in _CANNOT_SYNC_FOLDERS:
            raise SinkError(f"{folder}: cannot sync the names in it: {error}; check the disk") from error
    finally:
        with contextlib.suppress(OSError):
            os.close(fd)


# A plain set, because a WeakSet removes in Python: an exception that arrives in there is swallowed by the interpreter.
_open_files: set[weakref.ref[AppendFile]] = set()


def _close_inherited() -> None:
    """In a fork child: the files belong to the parent, and its locks must not outlive it here."""
    for ref in list(_open_files):
        file = ref()
        if file is not None:
            file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)
