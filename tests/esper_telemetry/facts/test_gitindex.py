"""git's index, held against what git says of it."""

from __future__ import annotations

import pytest

from esper_telemetry.facts.gitindex import parse_index, tree_of

NAMES = ("b", "a/b/c", "a/b.c", "a-b", "a/b/d/e", "a0", "z/y", "späte Schicht", "x" * 200)


def entries_of(repository):
    return parse_index((repository / ".git" / "index").read_bytes())


@pytest.mark.parametrize("version", ["2", "3", "4"])
def test_every_format_lists_the_files_and_the_tree_that_git_makes_of_them(repository, commit, git, version):
    for name in NAMES:
        commit(repository, name)
    (repository / "b").chmod(0o755)
    (repository / "link").symlink_to("b")
    git(repository, "add", ".")
    git(repository, "update-index", "--index-version", version)
    if version == "3":  # git writes it where an entry needs it
        git(repository, "update-index", "--skip-worktree", "a0")
    entries = entries_of(repository)
    listed = git(repository, "-c", "core.quotePath=off", "ls-files", "-z").strip("\0").split("\0")
    assert [entry.path.decode() for entry in entries] == listed
    assert tree_of(entries).hex() == git(repository, "write-tree")
    assert [entry.path for entry in entries if entry.unwatched] == ([b"a0"] if version == "3" else [])
    assert {oct(entry.mode) for entry in entries} == {"0o100644", "0o100755", "0o120000"}


def test_an_empty_index_makes_the_empty_tree(repository, git):
    git(repository, "rm", "-q", "file")
    assert entries_of(repository) == []
    assert tree_of([]).hex() == git(repository, "write-tree")


def test_sides_of_a_merge_and_names_without_content_are_told(repository, commit, git):
    (repository / "new").write_text("x")
    git(repository, "add", "-N", "new")
    assert [entry.path for entry in entries_of(repository) if entry.promised] == [b"new"]
    git(repository, "rm", "-q", "--cached", "new")
    git(repository, "checkout", "-qb", "side")
    commit(repository, "file", "side\n")
    git(repository, "checkout", "-q", "trunk")
    commit(repository, "file", "trunk\n")
    git(repository, "merge", "-q", "side", fails=True)
    assert any(entry.conflicting for entry in entries_of(repository))


def test_a_split_index_is_not_read(repository, git):
    git(repository, "update-index", "--split-index")
    assert entries_of(repository) is None


def test_every_cut_of_an_index_is_an_error_or_leaves_nothing_wrong(repository, commit):
    commit(repository, "a/b")
    data = (repository / ".git" / "index").read_bytes()
    whole = parse_index(data)
    for length in range(len(data)):
        try:
            found = parse_index(data[:length])
        except ValueError:
            continue
        assert found == whole
    with pytest.raises(ValueError, match="no index of format"):
        parse_index(b"DIRC" + bytes(60))
