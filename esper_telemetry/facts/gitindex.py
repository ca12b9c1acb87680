"""git's index: the tracked files, the state in which git saw them last, and the tree they would be committed as.

Formats 2 to 4, by git's documentation of the format (Documentation/gitformat-index.txt). An index that is split or
sparse does not list all files and is not read. Pure: bytes in, values out.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HEADER = struct.Struct(">4sII")
_ENTRY = struct.Struct(">10I20sH")
_EXTENSION = struct.Struct(">4sI")
_HASH_BYTES = 20
_ASSUME_VALID, _EXTENDED, _STAGE = 0x8000, 0x4000, 0x3000
_SKIP_WORKTREE, _INTENT_TO_ADD = 0x4000, 0x2000
_COMPRESSED = 4  # the format that shortens paths
_FORMATS = (2, 3, 4)


class IndexEntry(NamedTuple):
    """A tracked file.

    Attributes:
        path: below the top of the tree.
        mode: kind and permissions as in a tree: 0o100644, 0o100755, 0o120000, or 0o160000 for a submodule.
        oid: hash of its content as a blob.
        stat: ctime and mtime in seconds and nanoseconds, device, inode, user, group, size: 32 bits of each.
        conflicting: it is one side of a merge that was not finished.
        unwatched: git does not look at the file (assume-unchanged, skip-worktree).
        promised: it is not in the index yet, only its name is (`git add -N`).
    """

    path: bytes
    mode: int
    oid: bytes
    stat: tuple[int, ...]
    conflicting: bool
    unwatched: bool
    promised: bool


def parse_index(data: bytes) -> list[IndexEntry] | None:
    """Return the entries of an index in their order, or None if it does not list all files.

    Raises:
        ValueError: it is no index, or damaged.
    """
    try:
        signature, version, count = _HEADER.unpack_from(data)
        if signature != b"DIRC" or version not in _FORMATS:
            raise ValueError(f"no index of format 2 to 4: {signature!r}, {version}")
        entries, end = _entries(data, version, count)
        return None if any(name[:1].islower() for name in _extensions(data, end)) else entries
    except (struct.error, IndexError) as error:
        raise ValueError(f"the index ends too early: {error}") from None


def _entries(data: bytes, version: int, count: int) -> tuple[list[IndexEntry], int]:
    entries = []
    at, path = _HEADER.size, b""
    for _ in range(count):
        begin = at
        *fields, oid, flags = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        more = int.from_bytes(data[at : at + 2]) if flags & _EXTENDED else 0
        at += 2 if flags & _EXTENDED else 0
        if version == _COMPRESSED:
            drop, at = _offset(data, at)
            path = path[: len(path) - drop]
        else:
            path = b""
        end = data.index(b"\0", at)
        path += data[at:end]
        at = end + 1 if version == _COMPRESSED else begin + (end - begin + 8) // 8 * 8
        unwatched = bool(flags & _ASSUME_VALID or more & _SKIP_WORKTREE)
        stat = (*fields[:6], *fields[7:])
        entries.append(
            IndexEntry(
                path, fields[6], oid, stat, bool(flags & _STAGE), unwatched, promised=bool(more & _INTENT_TO_ADD)
            )
        )
    return entries, at


def _offset(data: bytes, at: int) -> tuple[int, int]:
    """Return a number in git's offset encoding, and where it ends."""
    byte = data[at]
    number = byte & 0x7F
    while byte & 0x80:
        at += 1
        byte = data[at]
        number = (number + 1 << 7) + (byte & 0x7F)
    return number, at + 1


def _extensions(data: bytes, at: int) -> Iterator[bytes]:
    """Yield the names of the extensions; one with a small first letter changes what the entries mean."""
    while at < len(data) - _HASH_BYTES:
        name, size = _EXTENSION.unpack_from(data, at)
        yield name
        at += _EXTENSION.size + size


def tree_of(entries: Sequence[IndexEntry]) -> bytes:
    """Return the hash of the tree that these entries make, none of them conflicting or promised.

    The order of an index is that of trees, so folders open and close as the paths go on.
    """
    folders: list[tuple[bytes, bytearray]] = [(b"", bytearray())]
    for entry in entries:
        folder, _, name = entry.path.rpartition(b"/")
        while folders[-1][0] and folder != folders[-1][0] and not folder.startswith(folders[-1][0] + b"/"):
            _close_folder(folders)
        rest = folder[len(folders[-1][0]) :].strip(b"/")
        for part in rest.split(b"/") if rest else ():
            above = folders[-1][0]
            folders.append((above + b"/" + part if above else part, bytearray()))
        folders[-1][1].extend(b"%o %s\0%s" % (entry.mode, name, entry.oid))
    while len(folders) > 1:
        _close_folder(folders)
    return object_id(b"tree", bytes(folders[0][1]))


def _close_folder(folders: list[tuple[bytes, bytearray]]) -> None:
    path, content = folders.pop()
    folders[-1][1].extend(b"40000 %s\0%s" % (path.rpartition(b"/")[2], object_id(b"tree", bytes(content))))


def object_id(kind: bytes, content: bytes) -> bytes:
    """Return the hash of an object of git."""
    header = b"%s %d\0" % (kind, len(content))
    return hashlib.sha1(header + content, usedforsecurity=False).digest()
