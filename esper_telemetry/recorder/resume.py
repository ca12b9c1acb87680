"""Going on with a run: which folder `resume` means, which attempt begins, and where it goes on.

What is in the folder is read, never changed. All ranks of one launch make the same attempt, in whatever order they
come, because each decides by the same rule: a rank that is missing from the latest attempt joins it if it comes from
the same launch; one that was in it already begins the next one. A launcher that counts restarts is believed, but never
to step back. A program that starts one run id twice without asking to resume has two runs, and gets two; another
process with that id is the next attempt, as launchers restart programs.
"""

from __future__ import annotations

import itertools
import logging
import operator
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.errors import ConfigError
from esper_telemetry.v1 import run_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esper_telemetry.sinks import RunStream

_log = logging.getLogger("esper_telemetry")

COORDINATES = ("step", "batch_idx", "global_epoch", "episode")
_SHOWN = 5
_LARGEST = 1 << 64

# Runs that this process has opened: process id, run folder, rank. A fork child has another id, and starts anew.
_opened: set[tuple[int, Path, int]] = set()


class Attempt(NamedTuple):
    """One start of a run.

    Attributes:
        number: from 1.
        launch: name of the launch it belongs to; empty where no launcher gives one.
        resumed: the event that states what is resumed; None where nothing is.
    """

    number: int
    launch: str
    resumed: run_pb2.RunResumed | None


def resumed_folder(root: Path | None, resume: str | os.PathLike[str], run_id: str | None, *, spool: bool) -> Path:
    """Return the run folder that `resume` means: a run id below `root`, or the path of a folder.

    Args:
        root: folder of runs; None where none was given.
        resume: as in start_run.
        run_id: as in start_run; it must name the same run.
        spool: what `root` held may have been sent and removed, so a run need not be there.

    Raises:
        ConfigError: there is no such run, it is not where its id leads, or `run_id` names another.
    """
    text = _as_path(resume)
    folder = _find(root, text, spool=spool).absolute()
    if run_id is not None and run_id != folder.name:
        raise ConfigError(f"run_id={run_id!r} and resume={text!r} name two runs; pass one of them")
    return folder


def switched_off_id(resume: object) -> str:
    """Return what a run that is switched off is called by what it was to resume; empty where that names none."""
    return Path(resume).name if isinstance(resume, (str, os.PathLike)) else ""


def _as_path(resume: object) -> str:
    if isinstance(resume, (str, os.PathLike)):
        text = os.fspath(resume)
        if text and isinstance(text, str):
            return text
    raise ConfigError(f"resume is {str(resume)[:100]!r}; give the id of a run, or its folder")


def _find(root: Path | None, text: str, *, spool: bool) -> Path:
    if root is not None and (root / text).is_dir():
        folder = root / text
    elif Path(text).is_dir():
        folder = Path(text)
    elif root is not None and spool and Path(text).name == text:
        return root / text
    else:
        raise ConfigError(f"resume={text!r}: there is no such run; {_what_is_there(root)}")
    run_ids = {stream.header.run_id for stream in _streams(folder)}
    if not run_ids:
        raise ConfigError(f"resume={text!r}: {folder} holds no record; {_what_is_there(root)}")
    folder = folder if folder.name in run_ids else folder.resolve()
    if folder.name not in run_ids:
        raise ConfigError(
            f"resume={text!r}: {folder} holds the run {min(run_ids)!r}; name the folder so, then resume it"
        )
    return folder


def separate_run(folder: Path, rank: int) -> Path:
    """Return the folder of a run that is not resumed: another than those this process has opened before."""
    other = next(one for one in _numbered(folder) if (os.getpid(), one.resolve(), rank) not in _opened)
    if other != folder:
        _log.warning(
            "run id %r is used again by this process: this is another run, %r; pass resume=%r to go on with the first",
            folder.name,
            other.name,
            folder.name,
        )
    return other


def _numbered(folder: Path) -> Iterator[Path]:
    yield folder
    for count in itertools.count(2):
        yield folder.with_name(f"{folder.name}-{count}")


def note_opened(folder: Path, rank: int) -> None:
    """Remember that this process has opened a run."""
    _opened.add((os.getpid(), folder.resolve(), rank))


def begin_attempt(folder: Path, rank: int, resumed_from: Mapping[str, Any] | None, *, resume: bool) -> Attempt:
    """Return the attempt that begins in `folder`.

    Args:
        folder: of the run; it need not exist.
        rank: of this process.
        resumed_from: as in start_run.
        resume: the program asks to go on with the run.

    Raises:
        ConfigError: `resumed_from` cannot be used, or this rank of the run is still being written.
    """
    start = _coordinates(resumed_from)
    streams = _streams(folder)
    launch = current_launch(os.environ)
    _check_writers(folder, streams, rank, resume=resume)
    number = choose_attempt(streams, rank, launch, resumed=resume)
    if not resume and all(stream.attempt >= number for stream in streams):
        if start:
            _log.warning("resumed_from is left out: nothing of run %r is there to go on with", folder.name)
        return Attempt(number, launch.name, None)
    source = "resume" if resume else launch.source or "run_id"
    fields = {f"from_{name}": value for name, value in start.items()}
    return Attempt(number, launch.name, run_pb2.RunResumed(attempt=number, source=source, **fields))


def _coordinates(resumed_from: Mapping[str, Any] | None) -> dict[str, int]:
    found: dict[str, int] = {}
    if resumed_from is not None and not isinstance(resumed_from, Mapping):
        raise ConfigError(f"resumed_from is {type(resumed_from).__name__}; give a mapping, such as {{'step': 500}}")
    for name, value in (resumed_from or {}).items():
        if name not in COORDINATES:
            raise ConfigError(f"resumed_from[{name!r}] is unknown; use one of {', '.join(COORDINATES)}")
        try:
            found[name] = -1 if isinstance(value, bool) else operator.index(value)
        except TypeError:
            found[name] = -1
        if not 0 <= found[name] < _LARGEST:
            raise ConfigError(f"resumed_from[{name!r}] is {value!r}; it must be a whole number from 0")
    return found


def _check_writers(folder: Path, streams: Sequence[RunStream], rank: int, *, resume: bool) -> None:
    mine = (stream for stream in streams if is_own(stream) and stream.header.rank == rank)
    writing = next((stream.header for stream in mine if stream.writing), None)
    if writing is None:
        return
    place = f"rank {rank} of run {folder.name!r} is still being written by process {writing.pid} on {writing.host}"
    if resume:
        raise ConfigError(f"{place}; resume it when that has ended, or give this process a rank of its own")
    _log.warning("%s; give each process of a run a rank of its own", place)


def _streams(folder: Path) -> list[RunStream]:
    from esper_telemetry.sinks import list_streams  # zstandard: only when a file is read or written

    return list_streams(folder)


def _what_is_there(root: Path | None) -> str:
    if root is None:
        return "pass the path of a run folder"
    try:
        runs = sorted(path.name for path in root.iterdir() if path.is_dir())
    except OSError:
        return f"{root} cannot be read"
    more = f" and {len(runs) - _SHOWN:,} more" if len(runs) > _SHOWN else ""
    return f"{root} holds {', '.join(runs[-_SHOWN:])}{more}" if runs else f"{root} holds no run"


# --- which attempt ----------------------------------------------------------------------------------------------------


class Launch(NamedTuple):
    """One start of all ranks of a job.

    Attributes:
        name: the same for all its ranks, and another for each restart; empty where no launcher names it.
        restarts: how often the launcher has restarted it; None where it does not count.
        source: what restarted it, for RunResumed; empty where nothing did.
    """

    name: str = ""
    restarts: int | None = None
    source: str = ""


# Launcher, its id of the job, its count of restarts. Its other variables may differ between the ranks of one launch.
_LAUNCHERS = (
    ("slurm", "SLURM_JOB_ID", "SLURM_RESTART_COUNT"),
    ("torchelastic", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"),
)


def current_launch(environment: Mapping[str, str]) -> Launch:
    """Return what the environment states of this process's launch; one launcher may run inside another."""
    names, counts, source = [], [], ""
    for launcher, job, restarts in _LAUNCHERS:
        if job not in environment and restarts not in environment:
            continue
        count = _count(environment.get(restarts, ""))
        counts += [] if count is None else [count]
        source = launcher if count else source
        names.append(f"{launcher}:{environment.get(job, '')}:{count or 0}")
    return Launch("/".join(names), sum(counts) if counts else None, source)


def choose_attempt(streams: Sequence[RunStream], rank: int, launch: Launch, *, resumed: bool) -> int:
    """Return the number of the attempt that this process makes.

    Args:
        streams: those in the run's folder.
        rank: of this process.
        launch: of this process.
        resumed: the program resumes the run.
    """
    streams = [stream for stream in streams if is_own(stream)]
    latest = max((stream.attempt for stream in streams), default=0)
    counted = 1 if launch.restarts is None else launch.restarts + 1
    if counted > latest or not latest:
        return max(counted, 2 if resumed else 1)
    peers = [stream for stream in streams if stream.attempt == latest]
    mine = [stream for stream in peers if stream.header.rank == rank]
    if any(stream.writing for stream in mine):  # at the same time: not after it
        return latest
    return latest if not mine and _is_launch_of(peers, launch, resumed=resumed) else latest + 1


def is_own(stream: RunStream) -> bool:
    """Tell the stream of a process that started a run from that of a child, which may outlive it."""
    return not stream.header.parent_producer_id


def _is_launch_of(peers: Sequence[RunStream], launch: Launch, *, resumed: bool) -> bool:
    """Tell whether a process belongs to the launch of `peers`, none of which has its rank."""
    names = {stream.header.launch for stream in peers}
    if launch.name or names != {""}:
        return launch.name in names
    # No launcher names launches. A rank that comes late joins, unless it resumes what has ended for the first time.
    return not resumed or peers[0].attempt > 1 or any(stream.writing for stream in peers)


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
