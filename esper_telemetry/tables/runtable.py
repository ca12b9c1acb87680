"""The table `runs`: a row for each run, from the facts that its record states without being read through."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from esper_telemetry.decode import StreamSummary, Survey, summarize
from esper_telemetry.tables.columntypes import TIME

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TEXTS = pa.map_(pa.string(), pa.string())
_COLUMNS: tuple[tuple[str, pa.DataType, str], ...] = (
    ("run", pa.string(), "Run id."),
    ("name", pa.string(), "Name the user gave to it."),
    ("outcome", pa.string(), "completed, failed, interrupted or abandoned; running, killed or unknown without an end."),
    ("started", TIME, "Time of its first event."),
    ("ended", TIME, "Time of its last event; of a run that goes on or was killed, the last one that is stored."),
    ("duration_s", pa.float64(), "Wall time as the run states it; NULL where it did not end. Of the last attempt."),
    ("attempts", pa.uint32(), "Attempts that are stored."),
    ("ranks", pa.uint32(), "Distributed ranks that are stored."),
    ("events", pa.uint64(), "Events that are stored; a block of steps is one."),
    ("lost", pa.uint64(), "Numbers that were given out and have no event, measured."),
    ("losses", _TEXTS, "What the run states was lost, by cause."),
    ("control_of", pa.string(), "Run id of the run that this one is the control of."),
    ("config", pa.string(), "Configuration as JSON, less secrets; NULL where none was given."),
    ("results", pa.map_(pa.string(), pa.float64()), "Final results of the lowest rank, by name."),
    ("tags", _TEXTS, "Labels."),
    ("host", pa.string(), "Machine of the lowest rank."),
    ("git_commit", pa.string(), "Commit of the source tree; NULL where it was not in one."),
    ("folder", pa.string(), "Where its files are."),
)
SCHEMA = pa.schema(
    [pa.field(name, kind, metadata={"description": text}) for name, kind, text in _COLUMNS],
    {"type": "runs", "full_name": "runs", "description": "A row for each run."},
)


def run_table(found: Survey) -> pa.Table:
    """Return a row for each run, in the order of their starts.

    Args:
        found: the records.
    """
    folders = {place.header.run_id: str(Path(place.path).parent) for place in reversed(found.places)}
    runs: defaultdict[str, list[StreamSummary]] = defaultdict(list)
    for stream in summarize(found).streams if found.places else ():
        runs[stream.run_id].append(stream)
    rows = [_row(run_id, streams, folders[run_id]) for run_id, streams in runs.items()]
    rows.sort(key=lambda row: (row["started"] or 0, row["run"]))
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _row(run_id: str, streams: Sequence[StreamSummary], folder: str) -> dict[str, Any]:
    own = [stream for stream in streams if not stream.parent] or streams
    first = min(own, key=lambda stream: (stream.attempt, stream.rank))
    last = min(own, key=lambda stream: (-stream.attempt, stream.rank))
    started, finished, configuration = first.started, last.finished, last.configuration or first.configuration
    losses: defaultdict[str, int] = defaultdict(int)
    for stream in own:
        for cause, count in stream.causes.items():
            losses[cause] += count
    return {
        "run": run_id,
        "name": first.run_name or None,
        "outcome": last.outcome,
        "started": _least(stream.first_time for stream in streams),
        "ended": max((stream.last_time for stream in streams if stream.last_time is not None), default=None),
        "duration_s": finished.get("duration_s"),
        "attempts": len({stream.attempt for stream in own}),
        "ranks": len({stream.rank for stream in own}),
        "events": sum(stream.events for stream in streams),
        "lost": sum(stream.missing for stream in streams),
        "losses": sorted((cause, str(count)) for cause, count in losses.items()),
        "control_of": started.get("control_of"),
        "config": None if configuration is None else json.dumps(configuration.values, sort_keys=True),
        "results": list(finished.get("results", {}).items()),
        "tags": sorted(started.get("tags", {}).items()),
        "host": first.host or None,
        "git_commit": started.get("git", {}).get("commit") or None,
        "folder": folder,
    }


def _least(times: Iterable[int | None]) -> int | None:
    return min((time for time in times if time is not None), default=None)
