"""What RunStarted records about the program, its packages, its machine and its source tree.

Only files and metadata are read: no package is imported and no program is started. Each fact is gathered for itself and
left out when it cannot be had: no side fact stops a start, and none is recorded that was not found.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from esper_telemetry.facts.gitchanges import has_changes
from esper_telemetry.facts.gitfolder import find_git_folder, read_head
from esper_telemetry.facts.redaction import Redaction
from esper_telemetry.facts.runconfig import PLACE, Configuration
from esper_telemetry.facts.text import text_of
from esper_telemetry.schema import MAX_EVENT_BYTES
from esper_telemetry.v1 import run_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Fact = TypeVar("Fact")

_log = logging.getLogger("esper_telemetry")
# Distributions and the modules that they install.
_PACKAGES = {
    "esper-telemetry": "esper_telemetry",
    "protobuf": "google.protobuf",
    "zstandard": "zstandard",
    "torch": "torch",
    "numpy": "numpy",
}
_ARGUMENT_BYTES = 4096
_ARGV_BYTES = 64 * 1024
_MOST_PLACES = 200  # of secrets that are named; a list of a thousand is shown by its first
# Of RunStarted and RunConfigured, beside what is in them anyway: settings, the envelope, lengths.
_ROOM = 4096


def run_started(
    name: str,
    run_id: str,
    config: Configuration | None = None,
    tags: Mapping[str, str] | None = None,
    *,
    argv: bool = True,
    redaction: Redaction | None = None,
) -> run_pb2.RunStarted:
    """Return the first event of a run; the telemetry settings are the caller's to fill in.

    Args:
        name: name of the run.
        run_id: its id.
        config: what it was configured with; cut to what fits into an event.
        tags: labels, checked and without secrets.
        argv: record the command line.
        redaction: what is a secret; it knows the places found so far.
    """
    redaction = redaction or Redaction()
    message = run_pb2.RunStarted(
        name=name,
        run_id=run_id,
        tags=tags or {},
        argv=redaction.argv(_fact(_arguments) or []) if argv else [],
        versions=_versions(),
        host=run_pb2.Host(hostname=_text(platform.node), os=_text(_system), cpu_count=_fact(_cpu_count)),
        git=_fact(_git_info),
    )
    message.redacted.extend(_bounded(redaction.places))
    if config is not None:
        _put_config(message, config, config.sha256)
    return message


def run_configured(update: Configuration, merged: Configuration) -> run_pb2.RunConfigured:
    """Return the event of a configuration that comes after the start.

    Args:
        update: what is added or replaced.
        merged: the configuration with it.
    """
    message = run_pb2.RunConfigured(redacted=_bounded(update.redacted))
    _put_config(message, update, merged.sha256)
    return message


def _put_config(message: run_pb2.RunStarted | run_pb2.RunConfigured, config: Configuration, sha256: str) -> None:
    message.config_sha256 = sha256
    text, whole = config.json(MAX_EVENT_BYTES - _ROOM - message.ByteSize())
    message.config_json = text
    if whole is not None:
        message.config_bytes = whole


def _bounded(places: Any) -> list[str]:
    more = len(places) - _MOST_PLACES
    shown = [text_of(place, _ARGUMENT_BYTES // 8) for place in places[:_MOST_PLACES]]
    return [*shown, f"{PLACE}: {more} more"] if more > 0 else shown


def _fact(gather: Callable[[], Fact]) -> Fact | None:
    """Return a fact, or None if it cannot be had."""
    try:
        return gather()
    except Exception as error:  # noqa: BLE001 - whatever the surroundings are like: a run can do without
        _log.debug("RunStarted does without a fact (%r): %s", gather, text_of(error, 200))
        return None


def _text(gather: Callable[[], str]) -> str:
    found = _fact(gather)
    return text_of(found, _ARGUMENT_BYTES) if found is not None else ""


def _arguments() -> list[str]:
    """Return the command line as texts: at most 4 KiB of an argument and 64 KiB of all."""
    shown: list[str] = []
    found: Any = sys.argv  # a program may have put anything there
    given = [found] if isinstance(found, str) else list(found)
    room = _ARGV_BYTES
    for argument in given:
        shown.append(text_of(argument, _ARGUMENT_BYTES))
        room -= len(shown[-1].encode()) + 3
        if room < 0:
            shown[-1] = f"<cut: {len(given) - len(shown) + 1:,} more>"
            break
    return shown


def _system() -> str:
    return f"{platform.system()} {platform.release()}"


def _cpu_count() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _versions() -> list[run_pb2.PackageVersion]:
    python = _text(platform.python_version) or ".".join(map(str, sys.version_info[:3]))
    found = [run_pb2.PackageVersion(name="python", version=python)]
    return [*found, *filter(None, (_fact(partial(_version, name)) for name in _PACKAGES))]


def _version(package: str) -> run_pb2.PackageVersion:
    """Return the version that a loaded module gives of itself; the one that is installed may be another."""
    version = getattr(sys.modules.get(_PACKAGES[package]), "__version__", None)
    if not isinstance(version, str):
        version = metadata.version(package)
    return run_pb2.PackageVersion(name=package, version=text_of(version, _ARGUMENT_BYTES))


def _git_info() -> run_pb2.GitInfo | None:
    git = find_git_folder(Path.cwd(), os.environ)
    head = read_head(git) if git is not None else None
    if git is None or head is None:
        return None
    info = run_pb2.GitInfo(commit=head.commit, branch=head.branch)
    dirty = _fact(partial(has_changes, git, head.commit, os.environ))
    if dirty is not None:
        info.dirty = dirty
    return info
