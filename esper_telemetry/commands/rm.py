"""`esper-telemetry rm`: delete runs on this machine, named ones or those that a retention rule no longer keeps.

A run that is being written is never deleted. What is deleted first gets a name that no reader lists, so that a deletion
which is killed leaves no half of a run behind; the next `rm` in that folder removes the rest.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esper_telemetry.commands.output import FAILED, FINE, INCOMPLETE, note, plural, print_text, size, warn
from esper_telemetry.commands.runlisting import SUFFIX, is_listable, run_folders
from esper_telemetry.commands.times import length_of
from esper_telemetry.errors import ConfigError
from esper_telemetry.recordfile.lock import is_locked
from esper_telemetry.storage.disk import LOCK_NAME as COLLECTOR_LOCK

if TYPE_CHECKING:
    from collections.abc import Sequence

_GRAVE = ".deleted-"
# What the SDK writes into a run folder beside records; everything else is not ours to delete.
_OURS = frozenset({"agent.log", "children.count", "artifacts", "tensorboard", "wandb"})
_NANOS = 1_000_000_000


class Age(click.ParamType[int]):
    """A length of time on the command line, in nanoseconds."""

    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a length such as 30d or 12h."""
        length = value if isinstance(value, int) else length_of(str(value))
        if length is None:
            self.fail(f"{value!r} is no length of time; use 30d, 12h or 90m", param, ctx)
        return length


@click.command
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--older-than", type=Age(), metavar="AGE", help="Of folders of runs: those last written before, as 30d.")
@click.option("--keep", type=click.IntRange(0), metavar="N", help="Of folders of runs: all but the N newest.")
@click.option("--dry-run", is_flag=True, help="Only print what would be deleted.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(paths: tuple[Path, ...], *, older_than: int | None, keep: int | None, dry_run: bool, yes: bool) -> int:
    """Delete runs: each PATH is a run folder, or with --older-than or --keep a folder of run folders.

    With both options a run goes if it is old and not among the N newest. A run that is being written
    stays. There is no way back. Exit code 3: some could not be deleted, or were left in part since
    their folder holds files that are not of the run.
    """
    rule = older_than is not None or keep is not None
    rests = [rest for path in paths if rule for rest in _remove_rests(path)]
    chosen = [run for path in paths for run in (_outdated(path, older_than, keep) if rule else [_run_folder(path)])]
    staying = {run: why for run in chosen if (why := _why_it_stays(run))}
    for run, why in staying.items():
        warn(f"{run}: {why}")
    chosen = [run for run in chosen if run not in staying]
    incomplete = bool(staying or rests)
    if not chosen:
        note("nothing is to be deleted")
        return INCOMPLETE if incomplete else FINE
    total = sum(map(_bytes, chosen))
    for run in chosen:
        print_text(f"{run}  {size(_bytes(run))}")
    if dry_run:
        note(f"would delete {plural(len(chosen), 'run')}, {size(total)}")
        return FINE
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("no terminal is here to ask; give --yes to delete without a question")
    if not yes and not click.confirm(f"delete {plural(len(chosen), 'run')}, {size(total)}?", err=True):
        note("nothing was deleted")
        return FAILED
    left = [run for run in chosen if not _delete(run)]
    note(f"deleted {plural(len(chosen) - len(left), 'run')}")
    return INCOMPLETE if left or incomplete else FINE


def _run_folder(path: Path) -> Path:
    """Return the folder of a run that was named.

    Raises:
        ConfigError: it is none.
    """
    if path.is_dir() and any(path.glob("*" + SUFFIX)):
        return path
    inside = run_folders(path) if path.is_dir() else []
    hint = f"it holds {plural(len(inside), 'run')}: name one, or give --older-than or --keep" if inside else "check it"
    raise ConfigError(f"{path} is no run folder; {hint}")


def _outdated(root: Path, older_than: int | None, keep: int | None) -> Sequence[Path]:
    """Return the runs of a folder that the rule no longer keeps, the oldest first."""
    by_age = sorted(run_folders(root), key=_written)
    if keep is not None:
        by_age = by_age[: max(0, len(by_age) - keep)]
    before = time.time() - (older_than or 0) / _NANOS
    return [run for run in by_age if older_than is None or _written(run) < before]


def _written(run: Path) -> float:
    """Return when a run was last written, seconds since 1970."""
    return max((file.lstat().st_mtime for file in run.glob("*" + SUFFIX)), default=0.0)


def _remove_rests(root: Path) -> list[Path]:
    """Remove what deletions have left in a folder of runs; return, and name, what could not be removed."""
    rests = sorted(root.glob(f"{_GRAVE}*"))
    for rest in rests:
        shutil.rmtree(rest, ignore_errors=True)
    left = [rest for rest in rests if rest.exists()]
    for rest in left:
        warn(f"{rest}: the rest of a run that was deleted cannot be removed; check its permissions")
    return left


def _why_it_stays(run: Path) -> str:
    """Return why a run stays: a process writes it or its folder, or that cannot be told; empty if it may go."""
    if not is_listable(run):
        return "it cannot be listed, and stays; check permissions"
    with contextlib.suppress(OSError):
        if is_locked(Path(os.path.realpath(run)).parent / COLLECTOR_LOCK):
            return (
                "a collector runs on its folder and would report it as lost, so that it stays; delete it there:"
                f" esper-telemetry runs delete {run.name} HOST:PORT"
            )
    for file in run.glob("*" + SUFFIX):
        try:
            if is_locked(file):
                return "it is being written, and stays"
        except FileNotFoundError:  # a link to nothing, which nobody writes
            continue
        except OSError as error:
            return f"whether it is being written is unknown ({file.name}: {error.strerror}), and it stays"
    return ""


def _bytes(run: Path) -> int:
    return sum(file.lstat().st_size for file in run.rglob("*") if file.is_file())


def _delete(run: Path) -> bool:
    """Delete a run; return whether all of it is gone. What is not of the run stays, and is named."""
    foreign = sorted(path.name for path in run.iterdir() if not (path.name.endswith(SUFFIX) or path.name in _OURS))
    try:
        if not foreign:
            grave = run.with_name(f"{_GRAVE}{run.name}-{os.getpid()}")
            run.rename(grave)
            run = grave
            shutil.rmtree(grave)
            return True
        warn(f"{run}: its record was deleted; the folder stays, as it holds {', '.join(foreign[:5])}")
        for path in run.iterdir():
            if path.name not in foreign:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    except OSError as error:
        warn(f"{run}: cannot be deleted, or only in part: {error.strerror}: {error.filename}; check permissions")
    return False
