"""Where an export goes: a local folder, or any file system that fsspec knows by a URL such as s3://bucket/runs.

A file is written under a hidden name and moved when it is whole, so that a reader never meets half of one. On a local
disk it is forced to the disk before.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from esper_telemetry.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterable


class Target:
    """A folder of exports.

    Args:
        root: a path, or a URL with "://" that fsspec knows.

    Raises:
        MissingExtraError: it is a URL and fsspec, or what it needs for this kind of URL, is not installed.
        ConfigError: fsspec knows no such URL.

    Attributes:
        root: the folder, as text.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.fspath(root).rstrip("/") or "/"
        self._remote: Any = None
        if "://" in self.root:
            self._remote, self.root = _file_system(self.root)

    def path(self, name: str) -> str:
        """Return the path of a file below the folder."""
        return f"{self.root}/{name}"

    def create(self, name: str) -> BinaryIO:
        """Open a new file for writing; its folders are made."""
        path = self.path(name)
        folder = path.rpartition("/")[0]
        if self._remote is not None:
            self._remote.makedirs(folder, exist_ok=True)
            opened: BinaryIO = self._remote.open(path, "wb")
            return opened
        Path(folder).mkdir(parents=True, exist_ok=True)
        return Path(path).open("wb")

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading."""
        if self._remote is not None:
            opened: BinaryIO = self._remote.open(self.path(name), "rb")
            return opened
        return Path(self.path(name)).open("rb")

    def write(self, name: str, content: bytes) -> None:
        """Write a whole file, so that a reader sees the one before or this one."""
        hidden = hidden_name(name)
        with self.create(hidden) as file:
            file.write(content)
        self.sync([hidden])
        self.move(hidden, name)

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None where there is none."""
        if not self.exists(name):
            return None
        with self.open(name) as file:
            return file.read()

    def exists(self, name: str) -> bool:
        """Tell whether there is a file."""
        return (
            bool(self._remote.exists(self.path(name))) if self._remote is not None else Path(self.path(name)).exists()
        )

    def size(self, name: str) -> int:
        """Return the bytes of a file."""
        path = self.path(name)
        return int(self._remote.size(path)) if self._remote is not None else Path(path).stat().st_size

    def move(self, name: str, to: str) -> None:
        """Give a file another name; one that has it is replaced."""
        if self._remote is not None:
            self._remote.mv(self.path(name), self.path(to))
        else:
            Path(self.path(name)).replace(self.path(to))

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        if self._remote is None:
            Path(self.path(name)).unlink(missing_ok=True)
        elif self._remote.exists(self.path(name)):
            self._remote.rm(self.path(name))

    def sync(self, names: Iterable[str]) -> None:
        """Force files to a local disk; a remote store has them when they are closed."""
        if self._remote is not None:
            return
        for name in names:
            descriptor = os.open(self.path(name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    @property
    def local(self) -> bool:
        """Whether it is a folder of this machine."""
        return self._remote is None


def hidden_name(name: str) -> str:
    """Return the name of a file while it is being written: engines pass over it."""
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}.{file}.partial"


def _file_system(url: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ModuleNotFoundError:
        raise MissingExtraError("the package 'fsspec', which a URL as target needs,", "query") from None
    try:
        system, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise ConfigError(f"{url}: {error}") from None
    except ValueError as error:
        raise ConfigError(f"{url}: fsspec knows no such URL ({error}); pass a folder, or s3://, gs://, ...") from None
    return system, root
