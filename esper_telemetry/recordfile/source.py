"""Where a reader's bytes come from: a file read by position, or bytes in memory.

Nothing is mapped: a mapped file that somebody cuts kills the process with SIGBUS.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from esper_telemetry.errors import NotARecordError, RecordError


class Source(Protocol):
    """Random access to the bytes of a record."""

    name: str

    @property
    def size(self) -> int:
        """Bytes there are now; a file that is being written grows."""

    def read_at(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset`; fewer at the end."""

    def close(self) -> None:
        """Let go of it."""


class FileSource:
    """A file.

    Raises:
        NotARecordError: it does not exist or is no file.
        RecordError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        try:
            self._file = path.open("rb", buffering=0)
        except FileNotFoundError:
            raise NotARecordError("there is no such file; check the path", path=self.name) from None
        except IsADirectoryError:
            raise NotARecordError("it is a folder; pass a file in it", path=self.name) from None
        except OSError as error:
            raise RecordError(f"cannot be opened: {error.strerror}; check permissions", path=self.name) from error

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self._file.fileno()).st_size

    def read_at(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset`; fewer at the end of the file."""
        try:
            self._file.seek(offset)
            data = self._file.read(count) or b""
            while len(data) < count and (more := self._file.read(count - len(data))):
                data += more
        except OSError as error:
            raise RecordError(f"cannot be read: {error.strerror}", path=self.name, offset=offset) from error
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()


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
        """Nothing to let go of."""


def open_source(source: str | os.PathLike[str] | bytes | Source) -> Source:
    """Return a source for a path or bytes; a source is returned as it is.

    Raises:
        RecordError: the path cannot be opened.
    """
    if isinstance(source, bytes):
        return BytesSource(source)
    if isinstance(source, (str, os.PathLike)):
        return FileSource(Path(source))
    return source
