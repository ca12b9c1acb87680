"""Commit and branch, held against what git itself says."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from esper_telemetry.facts.gitfolder import find_git_folder, read_head

if TYPE_CHECKING:
    from pathlib import Path


def recorded(folder: Path, **environment: str):
    found = find_git_folder(folder, environment)
    return None if found is None else read_head(found)


def _git(folder: Path, *command: str) -> str:
    return subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def told_by_git(folder: Path) -> tuple[str, str]:
    branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    return _git(folder, "rev-parse", "HEAD"), "" if branch == "HEAD" else branch


def test_a_folder_inside_has_the_commit_of_its_repository(repository, git, commit):
    inside = repository / "deep" / "er"
    inside.mkdir(parents=True)
    assert recorded(inside) == told_by_git(repository)
    git(repository, "pack-refs", "--all")
    assert recorded(inside) == told_by_git(repository)
    commit(repository, "later")
    assert recorded(inside) == told_by_git(repository), "a loose reference wins over a packed one"
    git(repository, "checkout", "-q", "--detach")
    assert recorded(inside) == told_by_git(repository)


def test_a_submodule_has_its_own_commit(repository, tmp_path, git, commit):
    inner = tmp_path / "inner"
    shutil.copytree(repository, inner)
    commit(inner, "other")
    git(repository, "submodule", "add", "-q", str(inner), "sub")
    assert recorded(repository / "sub") == told_by_git(inner)
    assert recorded(repository / "sub") != told_by_git(repository)


def test_a_worktree_has_its_own_branch(repository, tmp_path, git, commit):
    git(repository, "worktree", "add", "-q", "-b", "side/branch", str(tmp_path / "tree"))
    commit(tmp_path / "tree", "side")
    assert recorded(tmp_path / "tree") == told_by_git(tmp_path / "tree")
    assert recorded(tmp_path / "tree").branch == "side/branch"
    git(repository, "pack-refs", "--all")
    assert recorded(tmp_path / "tree") == told_by_git(tmp_path / "tree")


def test_symbolic_references_are_followed(repository, git):
    head = told_by_git(repository)[0]
    git(repository, "symbolic-ref", "refs/heads/alias", "refs/heads/trunk")
    git(repository, "symbolic-ref", "HEAD", "refs/heads/alias")
    assert recorded(repository) == (head, "alias")
    (repository / ".git" / "HEAD").unlink()
    (repository / ".git" / "HEAD").symlink_to("refs/heads/trunk")
    assert recorded(repository) == (head, "trunk")


def test_branches_of_any_encoding_are_named(repository):
    os.mkdir(os.fsencode(repository) + b"/.git/refs/heads/caf\xe9")  # noqa: PTH102 - a Path holds text
    head = told_by_git(repository)[0]
    with open(os.fsencode(repository) + b"/.git/refs/heads/caf\xe9/\xe9", "w") as file:  # noqa: PTH123 - as above
        file.write(head + "\n")
    (repository / ".git" / "HEAD").write_bytes(b"ref: refs/heads/caf\xe9/\xe9\n")
    assert recorded(repository) == (head, r"caf\xe9/\xe9")


def test_a_bare_repository_and_the_inside_of_one_are_heeded_as_git_does(repository, tmp_path, git):
    git(tmp_path, "clone", "-q", "--bare", str(repository), "bare.git")
    assert recorded(tmp_path / "bare.git") == told_by_git(repository)
    assert recorded(repository / ".git") == told_by_git(repository)


def test_the_variables_of_git_are_heeded(repository, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert recorded(elsewhere) is None
    assert recorded(elsewhere, GIT_DIR=str(repository / ".git")) == told_by_git(repository)
    assert recorded(elsewhere, GIT_DIR="../outer/.git") == told_by_git(repository)
    assert recorded(repository, GIT_DIR=str(elsewhere)) is None
    inside = repository / "inside"
    inside.mkdir()
    assert recorded(inside, GIT_CEILING_DIRECTORIES=str(repository)) is None


@pytest.mark.parametrize(
    "content", [b"", b"ref: ", b"ref: refs/heads/none\n", b"\xff\xfe", b"abc", b"ref: ../../secret\n", b"0" * 39]
)
def test_a_head_that_names_no_commit_is_left_out(repository, content):
    (repository / ".git" / "HEAD").write_bytes(content)
    assert recorded(repository) is None


def test_a_damaged_reference_is_left_out_and_no_older_one_taken(repository, git):
    git(repository, "pack-refs", "--all")
    (repository / ".git" / "refs" / "heads" / "trunk").write_bytes(b"\0" * 41)
    assert recorded(repository) is None


def test_an_unborn_branch_has_no_commit(tmp_path, git):
    git(tmp_path, "init", "-q")
    assert recorded(tmp_path) is None


def test_reftables_are_left_out(repository):
    (repository / ".git" / "reftable").mkdir()
    (repository / ".git" / "HEAD").write_text("ref: refs/heads/.invalid\n")
    assert recorded(repository) is None


def test_a_file_that_names_no_git_folder_hides_the_repository_around_it(repository):
    inside = repository / "inside"
    inside.mkdir()
    (inside / ".git").write_text("nonsense")
    with pytest.raises(OSError, match="names no git folder"):
        recorded(inside)
    (inside / ".git").write_text("gitdir: /nowhere\n")
    assert recorded(inside) is None


def test_a_pipe_in_place_of_a_file_makes_nobody_wait(repository):
    reference = repository / ".git" / "refs" / "heads" / "trunk"
    reference.unlink()
    os.mkfifo(reference)
    assert recorded(repository) is None
