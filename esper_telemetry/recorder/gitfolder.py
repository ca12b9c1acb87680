"""Commit and branch of the source tree around a folder, read from git's own files.

git itself is not started: it would be a child of the trainer, whose end the trainer's own handlers and waits would see,
and it may run programs that a configuration names. So the files are read by git's rules (submodules and worktrees
through a `.git` file, GIT_DIR, bare repositories, packed and symbolic references), and where those cannot be followed
to the end, as with reftables or a damaged reference, the answer is None: left out, never wrong.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.recorder.text import utf8_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_COMMIT = re.compile(rb"[0-9a-f]{40}([0-9a-f]{24})?")
_MOST_LINKS = 5  # git follows no longer chain of symbolic references
_MOST_BYTES = 64 * 1024 * 1024
_HEADS = "refs/heads/"
# References that each worktree has for itself; all others are shared.
_OWN = ("refs/bisect/", "refs/worktree/", "refs/rewritten/")


class GitFolder(NamedTuple):
    """Where a repository keeps its files.

    Attributes:
        own: the folder of this worktree: HEAD and index.
        common: the folder that all worktrees share: references and objects.
        tree: top of the source tree; None for a bare repository.
    """

    own: str
    common: str
    tree: str | None


class Head(NamedTuple):
    """What is checked out.

    Attributes:
        commit: hex.
        branch: its name; empty if none is checked out.
    """

    commit: str
    branch: str


def find_git_folder(start: str, environment: Mapping[str, str]) -> GitFolder | None:
    """Return the repository that git would use in the folder `start`.

    Raises:
        OSError: something on the way cannot be read.
    """
    given = environment.get("GIT_DIR")
    if given:
        tree = os.path.join(start, environment.get("GIT_WORK_TREE") or ".")
        return _git_folder(os.path.join(start, given), tree, environment)
    ceilings = {path for path in environment.get("GIT_CEILING_DIRECTORIES", "").split(os.pathsep) if path}
    for folder in _folders_above(start, ceilings):
        inside = os.path.join(folder, ".git")
        if os.path.isfile(inside):
            return _git_folder(_linked(inside), folder, environment)
        found = _git_folder(inside, folder, environment) or _git_folder(folder, None, environment)
        if found is not None:
            return found
    return None


def read_head(git: GitFolder) -> Head | None:
    """Return what is checked out, or None where that cannot be told.

    Raises:
        OSError: a file is there but cannot be read.
    """
    if os.path.isdir(os.path.join(git.common, "reftable")):
        return None
    reference = _symbolic(git, "HEAD")
    if reference is None:
        commit = _commit(_read(os.path.join(git.own, "HEAD")))
        return None if commit is None else Head(commit, "")
    commit = _resolve(git, reference)
    if commit is None:
        return None
    return Head(commit, utf8_text(reference.removeprefix(_HEADS)) if reference.startswith(_HEADS) else "")


def _folders_above(start: str, ceilings: set[str]) -> Iterator[str]:
    """Yield a folder and those above it, up to the border of its file system and to GIT_CEILING_DIRECTORIES."""
    device = os.stat(start).st_dev
    folder = start
    while True:
        yield folder
        above = os.path.dirname(folder)
        if above == folder or above in ceilings or os.stat(above).st_dev != device:
            return
        folder = above


def _git_folder(own: str, tree: str | None, environment: Mapping[str, str]) -> GitFolder | None:
    """Return a git folder if `own` is one: it has a HEAD, references and objects."""
    if not os.path.lexists(os.path.join(own, "HEAD")):
        return None
    common = environment.get("GIT_COMMON_DIR") or own
    shared = os.path.join(own, "commondir")
    if common == own and os.path.isfile(shared):
        common = os.path.join(own, os.fsdecode(_read(shared).rstrip(b"\r\n")))
    objects = environment.get("GIT_OBJECT_DIRECTORY") or os.path.join(common, "objects")
    if not (os.path.isdir(objects) and os.path.isdir(os.path.join(common, "refs"))):
        return None
    return GitFolder(own, common, tree)


def _linked(path: str) -> str:
    """Return the git folder that a `.git` file names: that of a submodule or a worktree."""
    text = _read(path)
    if not text.startswith(b"gitdir: "):
        raise OSError(f"{path} names no git folder")
    return os.path.join(os.path.dirname(path), os.fsdecode(text.removeprefix(b"gitdir: ").rstrip(b"\r\n")))


def _symbolic(git: GitFolder, name: str) -> str | None:
    """Return the reference that a reference names, or None if it names a commit."""
    path = os.path.join(_home(git, name), name)
    if os.path.islink(path) and (target := os.readlink(path)).startswith("refs/"):
        return target  # as git wrote it long ago
    text = _read(path)
    return os.fsdecode(text.removeprefix(b"ref:").strip()) if text.startswith(b"ref:") else None


def _resolve(git: GitFolder, reference: str) -> str | None:
    """Follow a reference to its commit."""
    for _ in range(_MOST_LINKS):
        if not reference.startswith("refs/") or ".." in reference.split("/"):
            return None
        try:
            next_one = _symbolic(git, reference)
            if next_one is None:
                return _commit(_read(os.path.join(_home(git, reference), reference)))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return _packed(git, reference)
        reference = next_one
    return None


def _packed(git: GitFolder, reference: str) -> str | None:
    try:
        lines = _read(os.path.join(git.common, "packed-refs")).splitlines()
    except FileNotFoundError:
        return None
    end = b" " + os.fsencode(reference)
    return next((_commit(line) for line in lines if line.endswith(end) and line[:1] not in b"#^"), None)


def _home(git: GitFolder, reference: str) -> str:
    shared = reference.startswith("refs/") and not reference.startswith(_OWN)
    return git.common if shared else git.own


def _commit(line: bytes) -> str | None:
    word = line.split(maxsplit=1)[:1]
    return word[0].decode() if word and _COMMIT.fullmatch(word[0]) else None


def _read(path: str) -> bytes:
    """Return the content of a regular file; a pipe in its place would make us wait for ever."""
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise IsADirectoryError(f"{path} is no file")
        return file.read(_MOST_BYTES)
