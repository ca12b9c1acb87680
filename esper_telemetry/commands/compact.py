"""`esper-telemetry compact`: rewrite closed records into full frames, in their place."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from esper_telemetry.commands.output import (
    FAILED,
    FINE,
    INCOMPLETE,
    note,
    plural,
    print_json,
    print_text,
    size,
    warn,
)
from esper_telemetry.commands.progress import measured
from esper_telemetry.commands.reading import json_option, record_path
from esper_telemetry.commands.runlisting import with_run_folders
from esper_telemetry.decode import record_files
from esper_telemetry.recordfile.compaction import Compaction, compact_file
from esper_telemetry.recordfile.lock import is_locked
from esper_telemetry.storage.disk import LOCK_NAME as COLLECTOR_LOCK
from esper_telemetry.uplink.sender import LOG_NAME as AGENT_LOG

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command
@click.argument("files", metavar="FILE|RUN|FOLDER...", nargs=-1, required=True, type=record_path)
@click.option("--force", is_flag=True, help="Also where less than a third is saved.")
@click.option("--dry-run", is_flag=True, help="Say what would be saved, and change nothing.")
@json_option
def command(files: tuple[str, ...], *, force: bool, dry_run: bool, as_json: bool) -> int:
    """Rewrite closed records into full frames of columns. What they hold stays the same, and so do their names.

    A run does that by itself when it is closed, as far as two seconds of processor time and five of the wall clock
    allow; this is for what was left, and for records of runs that were killed. A file that is damaged, still written or
    sent, or that would not become a third smaller (its headers left aside) stays as it is. It may be stopped at any
    moment. Exit code 1: a file could not be written; 3: a file is damaged.
    """
    if "-" in files:
        raise click.UsageError("standard input has no place of its own that could be taken; name a file")
    paths = record_files(with_run_folders(files))
    found: list[Compaction] = []
    with measured(paths.files, "compacting") as work:
        for path, show in work:
            busy = _busy(path)
            run = partial(compact_file, path, force=force, dry_run=dry_run, progress=show)
            found.append(Compaction(path, kept=busy) if busy else run())
    if as_json:
        print_json([_document(one) for one in found])
    else:
        _tell(found, dry_run=dry_run)
    for one in paths.passed_over:
        warn(str(one))
    damaged = any(one.damaged for one in found)
    if (paths.alone and damaged) or any(one.failed for one in found):
        return FAILED
    return INCOMPLETE if damaged or paths.passed_over else FINE


def _busy(path: Path) -> str:
    """Return who works with a file in a way that its frames must not change; empty if nobody does."""
    folder = Path(os.path.realpath(path)).parent  # Path.resolve raises for a link that leads to itself
    with contextlib.suppress(OSError):
        if is_locked(folder / AGENT_LOG):
            return "an agent is sending it, and rewrites it once all of it is durable at the collector"
    with contextlib.suppress(OSError):
        if is_locked(folder.parent / COLLECTOR_LOCK):
            return "it is a running collector's, which rewrites what it has sealed by itself"
    return ""


def _tell(found: Sequence[Compaction], *, dry_run: bool) -> None:
    for one in found:
        if not one.kept:
            part = one.after / max(1, one.before)
            frames = f"{one.frames[0]:,} → {plural(one.frames[1], 'frame')}"
            print_text(f"{one.path}  {size(one.before)} → {size(one.after)} ({part:.0%}), {frames}")
        elif one.damaged or one.failed:
            warn(f"{one.path}: stays as it is: {one.kept}")
        else:
            note(f"{one.path}: stays as it is: {one.kept}")
    rewritten = [one for one in found if not one.kept]
    saved = sum(one.saved for one in rewritten)
    note(f"{'would save' if dry_run else 'saved'} {size(saved)} in {plural(len(rewritten), 'file')} of {len(found):,}")


def _document(one: Compaction) -> dict[str, Any]:
    return {
        "path": str(one.path),
        "rewritten": not one.kept,
        "kept": one.kept or None,
        "damaged": one.damaged,
        "failed": one.failed,
        "bytes_before": one.before,
        "bytes_after": one.after,
        "frames_before": one.frames[0],
        "frames_after": one.frames[1],
        "events": one.events,
    }
