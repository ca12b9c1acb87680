"""What RunStarted says about the program, its packages, its machine and its source tree.

Only files and metadata are read: no package is imported and no program is started.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import ConfigError
from esper_telemetry.v1 import run_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

_PACKAGES = ("esper-telemetry", "protobuf", "zstandard", "torch", "numpy")


def canonical_json(config: Mapping[str, Any]) -> str:
    """Return `config` as JSON with sorted keys and no spaces; values JSON does not know become text.

    Raises:
        ConfigError: it contains itself, or keys of mixed types.
    """
    try:
        return json.dumps(config, sort_keys=True, separators=(",", ":"), default=str)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"config cannot be written as JSON: {error}; pass a plain dict of names and values") from None


def run_started(
    name: str, run_id: str, config: Mapping[str, Any] | None, tags: Mapping[str, str] | None
) -> run_pb2.RunStarted:
    """Return the first event of a run; the telemetry settings are the caller's to fill in."""
    message = run_pb2.RunStarted(
        name=name,
        run_id=run_id,
        tags={str(key): str(value) for key, value in (tags or {}).items()},
        argv=sys.argv,
        versions=_versions(),
        host=run_pb2.Host(
            hostname=platform.node(),
            os=f"{platform.system()} {platform.release()}",
            cpu_count=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        ),
    )
    if config is not None:
        message.config_json = canonical_json(config)
        message.config_sha256 = hashlib.sha256(message.config_json.encode()).hexdigest()
    git = _git_info(Path.cwd())
    if git is not None:
        message.git.CopyFrom(git)
    return message


def _versions() -> list[run_pb2.PackageVersion]:
    found = [run_pb2.PackageVersion(name="python", version=platform.python_version())]
    for package in _PACKAGES:
        try:
            found.append(run_pb2.PackageVersion(name=package, version=metadata.version(package)))
        except metadata.PackageNotFoundError:
            continue
    return found


def _git_info(start: Path) -> run_pb2.GitInfo | None:
    """Return commit and branch by reading .git; starting git would fork a process that may hold a GPU."""
    for folder in (start, *start.parents):
        head = folder / ".git" / "HEAD"
        try:
            text = head.read_text().strip()
        except OSError:
            continue
        if not text.startswith("ref: "):
            return run_pb2.GitInfo(commit=text)
        reference = text.removeprefix("ref: ")
        commit = _resolve(head.parent, reference)
        return run_pb2.GitInfo(commit=commit, branch=reference.removeprefix("refs/heads/")) if commit else None
    return None


def _resolve(git: Path, reference: str) -> str:
    try:
        return (git / reference).read_text().strip()
    except OSError:
        pass
    try:
        packed = (git / "packed-refs").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(" ")[0] for line in packed if line.endswith(" " + reference)), "")
