"""What a PPO run needs to go on: one file, written whole or not at all, and refused if it is not ours.

It holds tensors and plain values only and is read as such (`weights_only`): a file from elsewhere runs no code.
"""

from __future__ import annotations

import os
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = "esper-ppo"
VERSION = 1
_KEYS = frozenset(
    {"task", "config", "features", "policy", "optimizer", "generator", "global_epoch", "episodes_completed", "scale"}
    | {"trend", "updates"}
)
_SAME = ("n_envs", "max_epochs", "seed", "slots", "hidden", "gamma", "policy")
"""What a run may not change when it goes on: its numbers would mean something else."""


class CheckpointError(ValueError):
    """A checkpoint cannot be written, read or used."""


def save(path: str | Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; a reader sees the old file or the new one, never half of it.

    Raises:
        CheckpointError: It cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            torch.save({"format": FORMAT, "version": VERSION, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"{path}: the checkpoint cannot be written ({error.strerror})") from error


def check_writable(path: str | Path) -> None:
    """Fail now rather than after hours of training.

    Raises:
        CheckpointError: The folder is missing or cannot be written.
    """
    folder = Path(path).resolve().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise CheckpointError(f"{path}: the folder {folder} is missing or cannot be written; make it first")
    if Path(path).is_dir():
        raise CheckpointError(f"{path} is a folder: name a file to save to")


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        CheckpointError: It is missing, damaged, of another program or of a later version.
    """
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - closed below; only what fails here is unreadable
    except OSError as error:
        raise CheckpointError(f"{path}: the checkpoint cannot be read ({error.strerror})") from error
    try:
        with file:
            broken = zipfile.ZipFile(file).testzip()  # torch does not look at the checksums it writes
            file.seek(0)
            state = torch.load(file, map_location="cpu", weights_only=True) if broken is None else None
    except Exception as error:  # pickle, zip and torch raise what they like on foreign bytes
        raise CheckpointError(f"{path} is no checkpoint of this trainer: it cannot be decoded") from error
    if broken is not None:
        raise CheckpointError(f"{path} is damaged: its part {broken} fails its checksum; use another checkpoint")
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no checkpoint of this trainer: use a file written with --save")
    if state.get("version") != VERSION:
        raise CheckpointError(f"{path} has version {state.get('version')!r}, this trainer reads {VERSION}")
    missing = sorted(_KEYS - state.keys())
    if missing:
        raise CheckpointError(f"{path} is damaged: it lacks {', '.join(missing)}")
    return state


@contextmanager
def damage_named(path: str | Path) -> Iterator[None]:
    """Name the file whose content fails inside the block.

    Raises:
        CheckpointError: A value in it has another type or shape than it should.
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # a wrong value shows as whatever its user raises
        what = " ".join(str(error).split())
        raise CheckpointError(f"{path} is damaged: {type(error).__name__}: {what}; use another checkpoint") from error


def check_fits(state: dict[str, Any], *, task: str, config: dict[str, Any], features: int) -> None:
    """Refuse a checkpoint of another training.

    Raises:
        CheckpointError: Its task, its observations or a setting that may not change differ.
    """
    facts = {"task": task, "features": features} | {name: config[name] for name in _SAME}
    saved = {"task": state["task"], "features": state["features"]}
    saved |= {name: state["config"].get(name) for name in _SAME}
    for name, value in facts.items():
        if saved[name] != value:
            raise CheckpointError(
                f"the checkpoint was trained with {name} {saved[name]!r}, not {value!r}: resume it with the former"
            )
