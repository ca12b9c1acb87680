"""Where a reader's bytes come from: a file read by position, one behind a URL (`remote`), or bytes in memory.

Nothing is mapped: a mapped file that another process cuts kills this one with SIGBUS.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from esper_telemetry.errors import NotARecordError, RecordError
from esper_telemetry.recordfile.remote import RemoteSource, url_of

if TYPE_CHECKING:
    from types import ModuleType

resource: ModuleType | None
try:
    import resource
except ImportError:  # Windows
    resource = None


class Source(Protocol):
    """Random access to the bytes of a record."""

    name: str

    @property
    def size(self) -> int:
        """Bytes there are now; a file that is being written grows."""

    def read_at(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset`; fewer at the end."""

    def close(self) -> None:
        """Release it."""


class OpenFiles:
    """Bounds how many files are open: the one that was not read for the longest time is closed until it is read again.

    Not for use by two threads at once.

    Args:
        most: how many; None for a quarter of what the process may open, 128 at most.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most or min(128, max(4, _descriptor_limit() // 4))
        self._open: dict[FileSource, None] = {}

    def used(self, source: FileSource) -> None:
        """Record that `source` is open and read now."""
        self._open.pop(source, None)
        self._open[source] = None
        while len(self._open) > self._most:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.pause()

    def closed(self, source: FileSource) -> None:
        """Record that `source` needs no descriptor any more."""
        self._open.pop(source, None)


class FileSource:
    """A file.

    Args:
        path: the file; what is no regular file is refused without waiting for it.
        files: bounds how many are open at once; None leaves this one open.

    Raises:
        NotARecordError: it does not exist or is no file.
        RecordError: it cannot be opened.
    """

    def __init__(self, path: Path, files: OpenFiles | None = None) -> None:
        self.name = str(path)
        self._path = path
        self._files = files
        self._paused = False
        self._file = _open_regular(path)
        self._identity = _identity(self._file)
        if files is not None:
            files.used(self)

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the file that was opened, whatever its name leads to now."""
        return self._identity

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self._opened().fileno()).st_size

    def read_at(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset`; fewer at the end of the file.

        Raises:
            RecordError: the disk failed, or the file was closed meanwhile and is now gone or another one.
        """
        file = self._opened()
        try:
            file.seek(offset)
            data = file.read(count) or b""
            while len(data) < count and (more := file.read(count - len(data))):
                data += more
        except OSError as error:
            raise RecordError(f"cannot be read: {error.strerror}", path=self.name, offset=offset) from error
        return data

    def pause(self) -> None:
        """Close the file until it is read again."""
        self._paused = True
        self._file.close()

    def close(self) -> None:
        """Close the file."""
        self._paused = False
        self._file.close()
        if self._files is not None:
            self._files.closed(self)

    def _opened(self) -> io.FileIO:
        if self._paused:
            file = _open_regular(self._path)
            if _identity(file) != self._identity:
                file.close()
                raise RecordError("it was replaced by another file while it was read; read again", path=self.name)
            self._file, self._paused = file, False
        if self._files is not None and not self._file.closed:
            self._files.used(self)
        return self._file


def _open_regular(path: Path) -> io.FileIO:
    name = str(path)
    try:
        # Opening a pipe waits for its other end unless told not to.
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | _BINARY)
    except FileNotFoundError:
        raise NotARecordError("there is no such file; check the path", path=name) from None
    except IsADirectoryError:
        raise NotARecordError("it is a folder; pass a file in it", path=name) from None
    except OSError as error:
        few = error.errno in (errno.EMFILE, errno.ENFILE)
        advice = "raise the limit of open files (ulimit -n)" if few else "check permissions"
        raise RecordError(f"cannot be opened: {error.strerror}; {advice}", path=name) from error
    kind = os.fstat(fd).st_mode
    if not stat.S_ISREG(kind):
        os.close(fd)
        what = "a folder; pass a file in it" if stat.S_ISDIR(kind) else "a pipe or a device; pass - and redirect it"
        raise NotARecordError(f"it is {what}", path=name)
    return io.FileIO(fd, "rb")


_BINARY = getattr(os, "O_BINARY", 0)


def _identity(file: io.FileIO) -> tuple[int, int]:
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino


def _descriptor_limit() -> int:
    if resource is None:
        return 512  # of the C runtime of Windows
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 16 if soft == resource.RLIM_INFINITY else soft


class BytesSource:
    """Bytes in memory: standard input, or a test."""

    def __init__(self, data: bytes, name: str = "-") -> None:
        self.name = name
        self._data = data

    @property
    def size(self) -> int:
        """Bytes there are."""
        return len(self._data)

    def read_at(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset`."""
        return self._data[offset : offset + count]

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


class LastRead:
    """A source whose last read is kept: a walk reads a stretch, and the pieces in it are cut from that without a copy.

    Not for use by two threads at once.

    Args:
        source: the source, which may grow.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name = source.name
        self._at = 0
        self._data = b""

    @property
    def size(self) -> int:
        """Bytes there are now."""
        return self._source.size

    def read_at(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset`; fewer at the end."""
        self._at, self._data = offset, self._source.read_at(offset, count)
        return self._data

    def view_at(self, offset: int, count: int) -> memoryview:
        """Return up to `count` bytes from `offset`, a part of the last read where that holds them all."""
        start = offset - self._at
        if not 0 <= start <= start + count <= len(self._data):
            return memoryview(self.read_at(offset, count))
        return memoryview(self._data)[start : start + count]

    def close(self) -> None:
        """Close the source."""
        self._source.close()


def open_source(source: str | os.PathLike[str] | bytes | Source, files: OpenFiles | None = None) -> Source:
    """Return a source for a path, a URL or bytes; a source is returned as it is.

    Args:
        source: what to read.
        files: bounds how many paths are open at once.

    Raises:
        RecordError: the path cannot be opened.
    """
    if isinstance(source, bytes):
        return BytesSource(source)
    if isinstance(source, (str, os.PathLike)):
        if url_of(source) is not None:
            return RemoteSource(os.fspath(source))
        return FileSource(Path(source), files)
    return source
