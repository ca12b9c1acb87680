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
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.facts.text import utf8_text

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

    own: Path
    common: Path
    tree: Path | None


class Head(NamedTuple):
    """What is checked out.

    Attributes:
        commit: hex.
        branch: its name; empty if none is checked out.
    """

    commit: str
    branch: str


def find_git_folder(start: Path, environment: Mapping[str, str]) -> GitFolder | None:
    """Return the repository that git would use in the folder `start`.

    Args:
        start: an absolute path.
        environment: variables of the process; git's own are heeded.

    Raises:
        OSError: something on the way cannot be read.
    """
    given = environment.get("GIT_DIR")
    if given:
        return _git_folder(start / given, start / (environment.get("GIT_WORK_TREE") or "."), environment)
    ceilings = {Path(path) for path in environment.get("GIT_CEILING_DIRECTORIES", "").split(os.pathsep) if path}
    for folder in _folders_above(start, ceilings):
        inside = folder / ".git"
        if inside.is_file():
            return _git_folder(_linked(inside), folder, environment)
        found = _git_folder(inside, folder, environment) or _git_folder(folder, None, environment)
        if found is not None:
            return found
    return None


def read_head(git: GitFolder) -> Head | None:
    """Return what is checked out, or None where that is unknown.

    Raises:
        OSError: a file is there but cannot be read.
    """
    if (git.common / "reftable").is_dir():
        return None
    reference = _symbolic(git, "HEAD")
    if reference is None:
        commit = _commit(read_file(git.own / "HEAD"))
        return None if commit is None else Head(commit, "")
    commit = _resolve(git, reference)
    if commit is None:
        return None
    return Head(commit, utf8_text(reference.removeprefix(_HEADS)) if reference.startswith(_HEADS) else "")


def read_file(path: Path) -> bytes:
    """Return the content of a regular file; a pipe in its place would make us wait for ever.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise IsADirectoryError(f"{path} is no file")
        return file.read(_MOST_BYTES)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _folders_above(start: Path, ceilings: set[Path]) -> Iterator[Path]:
    """Yield a folder and those above it, up to the border of its file system and to GIT_CEILING_DIRECTORIES."""
    yield start
    device = start.stat().st_dev
    for folder in start.parents:
        if folder in ceilings or folder.stat().st_dev != device:
            return
        yield folder


def _git_folder(own: Path, tree: Path | None, environment: Mapping[str, str]) -> GitFolder | None:
    """Return a git folder if `own` is one: it has a HEAD, references and objects."""
    if not (own / "HEAD").is_symlink() and not (own / "HEAD").is_file():
        return None
    common = own
    if environment.get("GIT_COMMON_DIR"):
        common = Path.cwd() / environment["GIT_COMMON_DIR"]
    elif (own / "commondir").is_file():
        common = own / os.fsdecode(read_file(own / "commondir").rstrip(b"\r\n"))
    objects = Path(environment.get("GIT_OBJECT_DIRECTORY") or common / "objects")
    return GitFolder(own, common, tree) if objects.is_dir() and (common / "refs").is_dir() else None


def _linked(path: Path) -> Path:
    """Return the git folder that a `.git` file names: that of a submodule or a worktree."""
    text = read_file(path)
    if not text.startswith(b"gitdir: "):
        raise OSError(f"{path} names no git folder")
    return path.parent / os.fsdecode(text.removeprefix(b"gitdir: ").rstrip(b"\r\n"))


def _symbolic(git: GitFolder, name: str) -> str | None:
    """Return the reference that a reference names, or None if it names a commit."""
    path = _home(git, name) / name
    if path.is_symlink() and str(target := path.readlink()).startswith("refs/"):
        return str(target)  # as git wrote it long ago
    text = read_file(path)
    return os.fsdecode(text.removeprefix(b"ref:").strip()) if text.startswith(b"ref:") else None


def _resolve(git: GitFolder, reference: str) -> str | None:
    """Follow a reference to its commit."""
    for _ in range(_MOST_LINKS):
        if not reference.startswith("refs/") or ".." in reference.split("/"):
            return None
        try:
            following = _symbolic(git, reference)
            if following is None:
                return _commit(read_file(_home(git, reference) / reference))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return _packed(git, reference)
        reference = following
    return None


def _packed(git: GitFolder, reference: str) -> str | None:
    try:
        lines = read_file(git.common / "packed-refs").splitlines()
    except FileNotFoundError:
        return None
    end = b" " + os.fsencode(reference)
    return next((_commit(line) for line in lines if line.endswith(end) and line[:1] not in (b"#", b"^")), None)


def _home(git: GitFolder, reference: str) -> Path:
    shared = reference.startswith("refs/") and not reference.startswith(_OWN)
    return git.common if shared else git.own


def _commit(line: bytes) -> str | None:
    word = line.split(maxsplit=1)[:1]
    return word[0].decode() if word and _COMMIT.fullmatch(word[0]) else None
