"""Whether a source tree has changes, held against what git says: the same, or nothing."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import time

import pytest

from esper_telemetry.facts.gitchanges import has_changes
from esper_telemetry.facts.gitfolder import find_git_folder, read_head

PLAIN = {"HOME": "/nonexistent"}


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch):
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def changed(folder, **environment):
    found = find_git_folder(folder, environment)
    return has_changes(found, read_head(found).commit, {**PLAIN, **environment})


def told_by_git(git, folder):
    return bool(git(folder, "status", "--porcelain", "--untracked-files=no"))


@pytest.fixture
def tree(repository, commit, git):
    """A repository whose files are older than its index, so that git trusts their times."""
    for name in ("a/b", "a/c", "top", "run.sh"):
        commit(repository, name)
    (repository / "run.sh").chmod(0o755)
    (repository / "link").symlink_to("top")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "modes")
    past = time.time_ns() - 10**10
    for path in repository.rglob("*"):
        if ".git" not in path.parts and path.is_file():
            os.utime(path, ns=(past, past), follow_symlinks=False)
    git(repository, "status")  # it writes the times into the index
    return repository


def edit(tree, _git):
    (tree / "top").write_text("TEXT\n")


def touch(tree, _git):
    (tree / "top").touch()


def rewrite(tree, _git):
    (tree / "top").unlink()
    (tree / "top").write_text("text\n")


def remove(tree, _git):
    (tree / "a" / "b").unlink()


def remove_folder(tree, _git):
    shutil.rmtree(tree / "a")


def folder_becomes_a_file(tree, _git):
    shutil.rmtree(tree / "a")
    (tree / "a").write_text("x")


def stage(tree, git):
    (tree / "new").write_text("x")
    git(tree, "add", "new")


def stage_a_removal(tree, git):
    git(tree, "rm", "-q", "--cached", "top")


def stage_and_take_back(tree, git):
    stage_a_removal(tree, git)
    git(tree, "reset", "-q")


def relink(tree, _git):
    (tree / "link").unlink()
    (tree / "link").symlink_to("run.sh")


def untracked(tree, _git):
    (tree / "notes").write_text("x")


def commit_again(tree, git):
    (tree / "top").write_text("more\n")
    git(tree, "commit", "-qam", "more")


@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
@pytest.mark.parametrize(
    ("act", "answer"),
    [
        (lambda _tree, _git: None, False),
        (edit, True),
        (touch, False),
        (rewrite, False),
        (remove, True),
        (remove_folder, True),
        (folder_becomes_a_file, True),
        (stage, True),
        (stage_a_removal, True),
        (stage_and_take_back, False),
        (relink, True),
        (untracked, False),
        (commit_again, False),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_changes_are_what_git_says(tree, git, act, answer, packed):
    if packed:
        git(tree, "gc", "-q")
    act(tree, git)
    assert changed(tree) is answer
    assert told_by_git(git, tree) is answer


def test_a_change_that_hides_its_time_is_seen_though_git_itself_may_miss_it(tree):
    seen = (tree / "top").stat()
    (tree / "top").write_text("TEXT\n")
    os.utime(tree / "top", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert changed(tree) is True


def attributes(tree, git):
    (tree / ".gitattributes").write_text("* text=auto\n")
    git(tree, "add", ".gitattributes")
    git(tree, "commit", "-qm", "attributes")
    (tree / "top").touch()


def attributes_of_the_repository(tree, _git):
    (tree / ".git" / "info" / "attributes").write_text("* text\n")
    (tree / "top").touch()


def carriage_returns(tree, _git):
    (tree / "top").write_bytes(b"text\r\n")


def autocrlf(tree, git):
    git(tree, "config", "core.autocrlf", "true")
    (tree / "top").touch()


def permissions(tree, git):
    git(tree, "config", "core.fileMode", "false")
    (tree / "top").chmod(0o755)


def split_index(tree, git):
    git(tree, "update-index", "--split-index")


def promise(tree, git):
    (tree / "new").write_text("x")
    git(tree, "add", "-N", "new")


def another_tree(tree, git):
    git(tree, "config", "core.worktree", str(tree.parent))


@pytest.mark.parametrize(
    "act",
    [
        attributes, attributes_of_the_repository, carriage_returns, autocrlf, permissions, split_index, promise,
        another_tree,
    ],
    ids=lambda value: value.__name__,
)  # fmt: skip
def test_what_files_alone_cannot_tell_is_left_open(tree, git, act):
    act(tree, git)
    assert changed(tree) is None


@pytest.mark.parametrize("name", ["GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"])
def test_variables_that_put_another_file_in_place_leave_it_open(tree, name):
    assert changed(tree, **{name: str(tree / ".git" / "objects")}) is None


def test_settings_of_the_user_that_bring_in_others_leave_it_open(tree, tmp_path):
    (tmp_path / ".gitconfig").write_text("[include]\n\tpath = more\n")
    (tree / "top").touch()
    assert changed(tree, HOME=str(tmp_path)) is None


def test_a_submodule_leaves_it_open_unless_something_else_has_changed(tree, git, tmp_path):
    shutil.copytree(tree, tmp_path / "inner")
    git(tree, "submodule", "add", "-q", str(tmp_path / "inner"), "sub")
    git(tree, "commit", "-qm", "sub")
    assert changed(tree) is None
    assert changed(tree / "sub") is False
    remove(tree, git)
    assert changed(tree) is True


def test_a_worktree_has_changes_of_its_own(tree, git, tmp_path):
    git(tree, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    edit(tree, git)
    assert changed(tmp_path / "side") is False
    assert changed(tree) is True


def test_a_bare_repository_has_no_files(tree, git, tmp_path):
    git(tmp_path, "clone", "-q", "--bare", str(tree), "bare.git")
    assert changed(tmp_path / "bare.git") is None


def test_whatever_is_done_the_answer_is_never_wrong(tree, git):
    acts = (
        edit, touch, rewrite, remove, stage, stage_a_removal, stage_and_take_back, relink, untracked,
        commit_again, carriage_returns, permissions, promise, attributes,
    )  # fmt: skip
    chance = random.Random(7)
    sure = 0
    for _ in range(40):
        for act in chance.sample(acts, chance.randint(0, 2)):
            with contextlib.suppress(OSError, subprocess.CalledProcessError):  # two acts may not go together
                act(tree, git)
        answer, truth = changed(tree), told_by_git(git, tree)
        assert answer in (truth, None)
        sure += answer is not None
        if chance.random() < 0.5:
            git(tree, "reset", "-q", "--hard")
            (tree / ".gitattributes").unlink(missing_ok=True)
    assert sure > 5
