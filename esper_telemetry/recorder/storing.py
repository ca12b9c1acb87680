"""Files of a run beside its record: hashed where they are, or copied into the run's folder.

A copy appears under its name whole or not at all. Its name begins with its hash, so names are unique and the same bytes
take room once. Only regular files are read: opening a pipe could wait for ever.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CHUNK = 1 << 20
_HASH_DIGITS = 12
_LONGEST_STEM = 80
_ENDING = re.compile(r"\.[A-Za-z0-9]{1,15}$")


class Digest(NamedTuple):
    """Size in bytes and SHA-256 (hex) of a content."""

    size: int
    sha256: str


def hash_file(path: Path) -> Digest:
    """Return size and hash of a regular file.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    with open_regular(path) as file:
        return _drain(file, lambda _: None)


def store(folder: Path, name: str, source: Path | bytes, *, durable: bool) -> tuple[Path, Digest]:
    """Copy a file, or write bytes, into `folder`; return where they are now.

    Args:
        folder: made where it is missing.
        name: what the file's name ends in; what a file system may mind in it is replaced.
        source: a regular file, or the bytes.
        durable: force file and name to the disk.

    Raises:
        OSError: the source cannot be read, or the folder not written.
        SinkError: the names in the folder could not be forced to the disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{os.urandom(8).hex()}.partial"
    try:
        with (
            io.BytesIO(source) if isinstance(source, bytes) else open_regular(source) as file,
            partial.open("xb") as copy,
        ):
            digest = _drain(file, copy.write)
            copy.flush()
            if durable:
                os.fsync(copy.fileno())
        stored = folder / f"{digest.sha256[:_HASH_DIGITS]}-{_file_name(name)}"
        partial.replace(stored)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if durable:
        from esper_telemetry.sinks import sync_folder  # loaded since the record was opened

        for changed in (folder, folder.parent):  # the folder's own name is in the run's
            sync_folder(changed, required=False)
    return stored, digest


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no regular file")
    return os.fdopen(descriptor, "rb")


def _drain(file: BinaryIO | io.BytesIO, take: Callable[[bytes], object]) -> Digest:
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
        take(chunk)
    return Digest(size, digest.hexdigest())


def _file_name(name: str) -> str:
    """Return `name` as the end of a file's name that every system takes."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", name.replace("/", "-"))
    ending = _ENDING.search(plain)
    stem = plain[: ending.start()] if ending is not None else plain
    return (stem.strip(".-")[:_LONGEST_STEM] or "artifact") + (ending.group() if ending is not None else "")
