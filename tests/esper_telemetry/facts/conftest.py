"""Repositories, made by git itself."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def run_git(folder: Path, *command: str, fails: bool = False) -> str:
    settings = ("user.name=a", "user.email=a@b.example", "protocol.file.allow=always", "init.defaultBranch=trunk")
    options = [part for setting in settings for part in ("-c", setting)]
    done = subprocess.run(["git", *options, *command], cwd=folder, check=not fails, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def git() -> Callable[..., str]:
    """A function that runs git in a folder and returns what it prints."""
    return run_git


@pytest.fixture
def commit() -> Callable[..., None]:
    """A function that commits a file to the repository in a folder."""

    def add(folder: Path, name: str = "file", text: str = "text\n") -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        run_git(folder, "add", name)
        run_git(folder, "commit", "-qm", name)

    return add


@pytest.fixture
def repository(tmp_path: Path, commit: Callable[..., None]) -> Path:
    """A repository with a commit."""
    folder = tmp_path / "outer"
    folder.mkdir()
    run_git(folder, "init", "-q")
    commit(folder)
    return folder
