"""Whether a source tree is as it was committed: True, False, or None where that is not certain.

The question is that of `git diff-index HEAD`: is a tracked file changed, gone, or staged? The answer uses git's own
evidence. The tree that the index makes is held against that of the commit. A file whose state (times, inode, size) is
still the one that the index holds is unchanged, unless it may have changed in the same moment. The content of any other
file is hashed, and decides, where no attribute and no setting can convert it on its way. Everything else (submodules,
split indexes, filters, sparse trees, a tree too large to look at in half a second) is left open.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from esper_telemetry.facts.gitcommit import tree_of_commit
from esper_telemetry.facts.gitfolder import read_file
from esper_telemetry.facts.gitindex import object_id, parse_index, tree_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from esper_telemetry.facts.gitfolder import GitFolder
    from esper_telemetry.facts.gitindex import IndexEntry

_SECONDS = 0.5
_INDEX_BYTES = 16 * 1024 * 1024
_FILE_BYTES = 4 * 1024 * 1024  # of a file that is hashed
_SUBMODULE, _LINK, _FILE = 0o160000, 0o120000, 0o100000
_WORD = 0xFFFF_FFFF
_NANOS = 1_000_000_000
# These put another index, another tree, or other settings in place of the files that are looked at here.
_VARIABLES = ("GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_WORK_TREE", "GIT_DIR")
# Settings that change what a hash or a content means, or bring in files that would have to be searched as well.
_CONVERTING = re.compile(rb"^\s*(attributesfile|autocrlf|eol|path)\s*=|^\s*\[\s*include", re.IGNORECASE | re.MULTILINE)
_OTHER_FORMAT = re.compile(rb"^\s*(objectformat|refstorage|partialclone)\s*=", re.IGNORECASE | re.MULTILINE)
_WORKTREE = re.compile(rb"^\s*worktree\s*=\s*(.*?)\s*$", re.IGNORECASE | re.MULTILINE)


def has_changes(git: GitFolder, commit: str, environment: Mapping[str, str]) -> bool | None:
    """Return whether tracked files differ from a commit that is checked out.

    Args:
        git: the repository.
        commit: hex, of 40 digits.
        environment: variables of the process.

    Raises:
        OSError: a file is there but cannot be read.
        ValueError: one of git's files is damaged.
    """
    if git.tree is None or any(environment.get(name) for name in _VARIABLES) or not _is_plain(git, git.tree):
        return None
    deadline = time.monotonic() + _SECONDS
    written = (git.own / "index").stat()
    entries = parse_index(read_file(git.own / "index")) if written.st_size <= _INDEX_BYTES else None
    if entries is None or any(entry.promised for entry in entries):
        return None
    staged = _is_staged(entries, git, commit)
    unsure = staged is None
    changes = _changes(entries, git, written.st_mtime_ns, deadline, environment)
    for changed in itertools.chain([staged], changes):
        if changed:
            return True
        unsure = unsure or changed is None
    return None if unsure else False


def _is_staged(entries: Sequence[IndexEntry], git: GitFolder, commit: str) -> bool | None:
    """Return whether the index holds another tree than a commit."""
    if any(entry.conflicting for entry in entries):
        return True
    committed = tree_of_commit(git.common / "objects", commit)
    return None if committed is None else tree_of(entries) != committed


def _is_plain(git: GitFolder, tree: Path) -> bool:
    """Tell whether the repository keeps its objects and its tree where this file looks for them."""
    for config in (git.common / "config", git.own / "config.worktree"):
        text = read_file(config) if config.is_file() else b""
        elsewhere = [git.own / os.fsdecode(found) for found in _WORKTREE.findall(text)]
        if _OTHER_FORMAT.search(text) or any(folder.resolve() != tree.resolve() for folder in elsewhere):
            return False
    return not (git.common / "refs" / "replace").exists()


def _changes(
    entries: Sequence[IndexEntry], git: GitFolder, index_time: int, deadline: float, environment: Mapping[str, str]
) -> Iterator[bool | None]:
    """Yield for each file whether it changed; None where that is open."""
    tree = os.fsencode(str(git.tree))
    converts = _converts_everywhere(git, environment)
    for entry in entries:
        if entry.unwatched:
            continue
        if time.monotonic() > deadline:
            yield None
            return
        path = tree + b"/" + entry.path
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            yield True if entry.mode != _SUBMODULE else None
            continue
        if entry.mode == _SUBMODULE:
            yield None if os.listdir(path) else False  # noqa: PTH208 - paths of an index are bytes
        elif _same_mode(entry.mode, found.st_mode):
            yield False if _same_state(entry, found, index_time) else _content_differs(entry, path, converts=converts)
        else:
            yield None  # a file system without permissions or links looks like this too


def _same_mode(mode: int, found: int) -> bool:
    if mode == _LINK:
        return stat.S_ISLNK(found)
    return stat.S_ISREG(found) and bool(mode & 0o100) == bool(found & 0o100)


def _same_state(entry: IndexEntry, found: os.stat_result, index_time: int) -> bool:
    """Tell whether a file is in the state that git saw, and that state is older than the index, as git demands."""
    times = (*divmod(found.st_ctime_ns, _NANOS), *divmod(found.st_mtime_ns, _NANOS))
    ids = (found.st_dev, found.st_ino, found.st_uid, found.st_gid, found.st_size)
    seen = tuple(value & _WORD for value in (*times, *ids))
    # git does not compare devices: they change when a disk is mounted again.
    same = seen[:4] == entry.stat[:4] and seen[5:] == entry.stat[5:]
    return same and found.st_mtime_ns < index_time


def _content_differs(entry: IndexEntry, path: bytes, *, converts: bool) -> bool | None:
    if entry.mode == _LINK:
        return object_id(b"blob", os.readlink(path)) != entry.oid  # noqa: PTH115 - paths of an index are bytes
    if converts or _converts_here(path, len(entry.path)):
        return None
    file = Path(os.fsdecode(path))
    if file.stat().st_size > _FILE_BYTES:
        return None
    content = read_file(file)
    return None if b"\r" in content else object_id(b"blob", content) != entry.oid


def _converts_here(path: bytes, length: int) -> bool:
    """Tell whether a folder between a file and the top of its tree has attributes."""
    top = path[:-length]
    folder = os.path.dirname(path)  # noqa: PTH120 - paths of an index are bytes
    while len(folder) >= len(top) - 1:
        if os.path.lexists(folder + b"/.gitattributes"):
            return True
        folder = os.path.dirname(folder)  # noqa: PTH120 - as above
    return False


def _converts_everywhere(git: GitFolder, environment: Mapping[str, str]) -> bool:
    """Tell whether settings or attributes of the machine, the user or the repository may convert contents."""
    home = Path(environment.get("HOME") or os.devnull)
    user = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "git"
    attributes = (Path("/etc/gitattributes"), user / "attributes", git.common / "info" / "attributes")
    configs = [Path("/etc/gitconfig"), user / "config", home / ".gitconfig"]
    configs += [git.common / "config", git.own / "config.worktree"]
    if any(name.startswith(("GIT_CONFIG", "GIT_ATTR")) for name in environment):
        return True
    return any(path.exists() for path in attributes) or any(_mentions(configs))


def _mentions(configs: Iterable[Path]) -> Iterator[bool]:
    return (bool(_CONVERTING.search(read_file(path))) for path in configs if path.is_file())
