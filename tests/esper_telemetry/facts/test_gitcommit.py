"""The tree of a commit, held against what git says."""

from __future__ import annotations

import pytest

from esper_telemetry.facts.gitcommit import tree_of_commit


def tree(repository, commit):
    found = tree_of_commit(repository / ".git" / "objects", commit)
    return None if found is None else found.hex()


def test_a_commit_is_read_loose_and_packed(repository, commit, git):
    for number in range(30):
        commit(repository, f"file{number}")
    head = git(repository, "rev-parse", "HEAD")
    expected = git(repository, "rev-parse", "HEAD^{tree}")
    assert tree(repository, head) == expected
    git(repository, "gc", "-q")
    assert not list((repository / ".git" / "objects" / head[:2]).glob("*"))
    assert tree(repository, head) == expected


def test_every_commit_of_a_pack_is_read_right_or_not_at_all(repository, commit, git):
    for number in range(60):
        commit(repository, "file", f"{number}\n")
    git(repository, "gc", "-q", "--aggressive")
    read = 0
    for line in git(repository, "log", "--format=%H %T").splitlines():
        name, expected = line.split()
        found = tree(repository, name)
        assert found in (expected, None)
        read += found is not None
    assert read > 0
    assert tree(repository, git(repository, "rev-parse", "HEAD")) is not None


def test_objects_that_are_borrowed_are_found(repository, git, tmp_path):
    git(tmp_path, "clone", "-q", "--shared", str(repository), "borrower")
    head = git(repository, "rev-parse", "HEAD")
    assert tree(tmp_path / "borrower", head) == git(repository, "rev-parse", "HEAD^{tree}")


@pytest.mark.parametrize("name", ["0" * 40, "f" * 40])
def test_what_is_not_there_is_none(repository, name):
    assert tree(repository, name) is None


def test_an_object_that_is_no_commit_is_none(repository, git):
    assert tree(repository, git(repository, "rev-parse", "HEAD:file")) is None
