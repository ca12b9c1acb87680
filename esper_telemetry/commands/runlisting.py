"""Runs in a table, by time: what `info` prints of several runs and `runs` of a folder on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esper_telemetry.commands.output import duration, print_table, size
from esper_telemetry.errors import NotARecordError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from esper_telemetry.commands.times import TimeFormat
    from esper_telemetry.decode import StreamSummary, Summary

_NANOS = 1_000_000_000
_SHOWN_RESULTS = 3
_HEAD = ("run", "name", "outcome", "started", "lasted", "events", "lost", "size", "results")
SUFFIX = ".esr.zst"


@dataclass(slots=True)
class RunRow:
    """A run in a few facts.

    Attributes:
        run_id: the run.
        name: the name the user gave it.
        outcome: how its latest attempt ended, or "running"; of ranks that differ, each once.
        started: time of its first event, nanoseconds since 1970 UTC; None without events.
        lasted_s: seconds of its attempts together.
        events: events that are there.
        missing: sequence numbers that were given out and have no event.
        bytes: size of its files.
        attempts: how many attempts it had.
        results: by name; where ranks differ, a dict by rank.
        folders: where its files are.
    """

    run_id: str
    name: str = ""
    outcome: str = ""
    started: int | None = None
    lasted_s: float = 0.0
    events: int = 0
    missing: int = 0
    bytes: int = 0
    attempts: int = 1
    results: dict[str, Any] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)


def attempt_of(stream: StreamSummary) -> int:
    """Return the attempt that a stream belongs to."""
    return stream.attempt


def attempts_of(streams: Sequence[StreamSummary]) -> list[list[StreamSummary]]:
    """Return the run's own streams by attempt, those of child processes aside where there are others."""
    own = [stream for stream in streams if not stream.parent] or streams
    return [list(group) for _, group in groupby(sorted(own, key=attempt_of), key=attempt_of)]


def lasted(streams: Sequence[StreamSummary]) -> float:
    """Return the duration of one attempt, in seconds: what its longest rank states, or else shows."""
    stated = [stream.finished["duration_s"] for stream in streams if "duration_s" in stream.finished]
    begin = [stream.first_time for stream in streams if stream.first_time is not None]
    end = [stream.last_time for stream in streams if stream.last_time is not None]
    shown = (max(end) - min(begin)) / _NANOS if begin else 0.0
    return float(max(stated)) if len(stated) == len(streams) else max([shown, *stated])


def results_of(streams: Sequence[StreamSummary]) -> dict[str, Any]:
    """Return the results of an attempt by name: one value, or one by rank ("r0") where the ranks differ."""
    by_name: dict[str, dict[int, float]] = {}
    for stream in sorted(streams, key=lambda stream: stream.rank):
        for name, value in stream.finished.get("results", {}).items():
            by_name.setdefault(name, {})[stream.rank] = value
    alone = len({stream.rank for stream in streams}) == 1
    return {
        name: next(iter(values.values())) if alone or len(set(values.values())) == 1 else _by_rank(values)
        for name, values in by_name.items()
    }


def _by_rank(values: dict[int, float]) -> dict[str, float]:
    return {f"r{rank}": value for rank, value in values.items()}


def result_text(value: Any) -> str:
    """Return a result as people read it: "0.5", or "r0 80, r1 81" where the ranks differ."""
    if isinstance(value, dict):
        return ", ".join(f"{rank} {one:.6g}" for rank, one in value.items())
    return f"{value:.6g}"


def runs_of(summary: Summary) -> list[RunRow]:
    """Return the runs of a summary, those that started first in front."""
    found = [
        _facts(run_id, [stream for stream in summary.streams if stream.run_id == run_id], summary.paths)
        for run_id in summary.run_ids
    ]
    return sorted(found, key=lambda run: (run.started is None, run.started or 0, run.run_id))


def _facts(run_id: str, streams: Sequence[StreamSummary], paths: Iterable[str]) -> RunRow:
    attempts = attempts_of(streams)
    begin = [stream.first_time for stream in streams if stream.first_time is not None]
    parents = dict.fromkeys(Path(path).parent for path in paths)
    return RunRow(
        run_id,
        next((stream.run_name for stream in streams if stream.run_name), ""),
        ", ".join(dict.fromkeys(stream.outcome for stream in attempts[-1])),
        min(begin, default=None),
        sum(map(lasted, attempts)),
        sum(stream.events for stream in streams),
        sum(stream.missing for stream in streams),
        sum(stream.bytes for stream in streams),
        len(attempts),
        results_of(attempts[-1]),
        [str(parent) for parent in parents if parent.name == run_id],
    )


def print_runs(runs: Sequence[RunRow], times: TimeFormat) -> None:
    """Print a line for each run; times to the second."""
    rows = []
    for run in runs:
        shown = [f"{name} {result_text(value)}" for name, value in list(run.results.items())[:_SHOWN_RESULTS]]
        shown += ["…"] if len(run.results) > _SHOWN_RESULTS else []
        outcome = run.outcome + (f" (attempt {run.attempts})" if run.attempts > 1 else "")
        started = None if run.started is None else times.text(run.started).strip()[:19]
        row = run.run_id, run.name or None, outcome, started, duration(run.lasted_s), run.events, run.missing
        rows.append((*row, size(run.bytes), ", ".join(shown)))
    print_table(_HEAD, rows)


def run_document(run: RunRow, times: TimeFormat) -> dict[str, Any]:
    """Return a run for JSON."""
    plain = {name: getattr(run, name) for name in RunRow.__slots__}
    plain["started"] = None if run.started is None else times.json(run.started)
    return plain


def run_folders(root: Path) -> list[Path]:
    """Return the folders directly below `root` that hold a record file, in the order of their names.

    A folder that may not be listed is among them: whether it is a run is unknown, and the one who reads it says so.

    Raises:
        NotARecordError: `root` itself cannot be listed.
    """
    try:
        inside = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise NotARecordError(
            f"the folder cannot be listed: {error.strerror}; check permissions", path=str(root)
        ) from error
    return [path for path in inside if path.is_dir() and (not is_listable(path) or any(path.glob("*" + SUFFIX)))]


def is_listable(folder: Path) -> bool:
    """Tell whether this process may see what is in a folder."""
    return os.access(folder, os.R_OK | os.X_OK)


def with_run_folders(files: Sequence[str]) -> list[str]:
    """Return FILE... in which a folder that holds no record itself, but run folders, is replaced by those."""
    found: list[str] = []
    for name in files:
        folder = Path(name)
        alone = not folder.is_dir() or not is_listable(folder) or any(folder.glob("*" + SUFFIX))
        inside = [] if alone else run_folders(folder)
        found += [str(each) for each in inside] or [name]
    return found
