"""The tree of a commit, read from git's object files: loose, or whole in a pack.

A commit that a pack holds as a difference to another object is not read: git keeps the newest ones whole. Formats by
git's documentation (gitformat-pack.txt). What is not found is None.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PACK_INDEX = b"\xfftOc\0\0\0\2"
_FANOUT_BYTES = 256 * 4
_HASH_BYTES = 20
_COMMIT_TYPE = 1
_LARGE = 0x8000_0000  # an offset of a pack beyond 2 GiB is stored in another table
_BEGIN_BYTES = 4096  # of an object: "tree" is the first line of a commit
_MOST_ALTERNATES = 5


def tree_of_commit(objects: Path, commit: str) -> bytes | None:
    """Return the hash of a commit's tree.

    Args:
        objects: the folder of objects.
        commit: hex.

    Raises:
        OSError: a file is there but cannot be read.
    """
    for folder in _object_folders(objects):
        text = _loose(folder, commit) or _packed(folder, bytes.fromhex(commit))
        if text is not None:
            name, _, tree = text.partition(b"\n")[0].partition(b" ")
            return bytes.fromhex(tree.decode()) if name == b"tree" and len(tree) == 2 * _HASH_BYTES else None
    return None


def _object_folders(objects: Path) -> Iterator[Path]:
    """Yield a folder of objects and those that it borrows from."""
    waiting = [objects]
    for _ in range(_MOST_ALTERNATES):
        if not waiting:
            return
        folder = waiting.pop()
        yield folder
        borrowed = folder / "info" / "alternates"
        if borrowed.is_file():
            waiting += [folder / os.fsdecode(line) for line in borrowed.read_bytes().splitlines() if line[:1] != b"#"]


def _loose(objects: Path, commit: str) -> bytes | None:
    try:
        with (objects / commit[:2] / commit[2:]).open("rb") as file:
            header, _, text = _inflated(file.read(_BEGIN_BYTES)).partition(b"\0")
    except FileNotFoundError:
        return None
    return text if header.startswith(b"commit ") else None


def _packed(objects: Path, commit: bytes) -> bytes | None:
    for index in sorted((objects / "pack").glob("*.idx")):
        with index.open("rb") as file:
            offset = _offset_in_pack(file, commit)
        if offset is not None:
            with index.with_suffix(".pack").open("rb") as pack:
                return _whole_commit(pack, offset)
    return None


def _offset_in_pack(file: BinaryIO, commit: bytes) -> int | None:
    if file.read(len(_PACK_INDEX)) != _PACK_INDEX:
        return None
    fanout = struct.unpack(">256I", file.read(_FANOUT_BYTES))
    first, last, count = fanout[commit[0] - 1] if commit[0] else 0, fanout[commit[0]], fanout[-1]
    names = len(_PACK_INDEX) + _FANOUT_BYTES
    file.seek(names + first * _HASH_BYTES)
    found = file.read((last - first) * _HASH_BYTES)
    for at in range(0, len(found), _HASH_BYTES):
        if found[at : at + _HASH_BYTES] == commit:
            file.seek(names + count * (_HASH_BYTES + 4) + (first + at // _HASH_BYTES) * 4)
            (offset,) = struct.unpack(">I", file.read(4))
            return None if offset & _LARGE else int(offset)
    return None


def _whole_commit(pack: BinaryIO, offset: int) -> bytes | None:
    pack.seek(offset)
    data = pack.read(_BEGIN_BYTES)
    if data[0] >> 4 & 7 != _COMMIT_TYPE:
        return None
    at = next(number for number, byte in enumerate(data) if not byte & 0x80)
    return _inflated(data[at + 1 :])


def _inflated(data: bytes) -> bytes:
    """Return the beginning of what was compressed."""
    return zlib.decompressobj().decompress(data, _BEGIN_BYTES)
