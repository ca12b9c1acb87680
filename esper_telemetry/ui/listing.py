"""The runs that a page can open, and few facts of each: found again at every look, read again where a file has changed.

A run is a folder that holds record files, a record file named alone, or a run at a collector. A viewer names a run by
its key, and a key is only ever looked up in the listing: no path is made of what a browser sends.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from esper_telemetry.decode import Summary, summarize
from esper_telemetry.errors import NotARecordError, RecordError
from esper_telemetry.ui.origin_collector import CollectorOrigin
from esper_telemetry.ui.origin_files import FileOrigin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from esper_telemetry.decode.live import LiveSource
    from esper_telemetry.ui.origin import EventOrigin
    from esper_telemetry.v1.collector_pb2 import RunSummary

_SUFFIX = ".esr.zst"
# Folders of folders: a place of runs by project and day is three deep.
_DEEPEST = 4
_MOST_RUNS = 5000


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a list tells of a run. What is not known is None, never 0.

    Attributes:
        key: what a page calls it; unique in its listing.
        run_id: the run.
        name: the name its user gave it.
        outcome: "completed", "failed", "interrupted", "abandoned", "running", "killed" or "unknown".
        tags: free labels.
        started_ns: its first event, nanoseconds since 1970 UTC.
        last_ns: its last event so far.
        events: events that are stored.
        bytes: size of its files.
        missing: sequence numbers without an event.
        streams: processes that wrote.
        attempts: attempts at the run.
        results: final results by name.
        settings: its configuration by dotted names.
        host: where it ran.
        place: its folder, its file, or its collector.
        problem: why it cannot be read; empty where it can.
    """

    key: str
    run_id: str
    name: str = ""
    outcome: str = "unknown"
    tags: dict[str, str] = field(default_factory=dict)
    started_ns: int | None = None
    last_ns: int | None = None
    events: int | None = None
    bytes: int | None = None
    missing: int | None = None
    streams: int | None = None
    attempts: int | None = None
    results: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    host: str = ""
    place: str = ""
    problem: str = ""


class Listing(Protocol):
    """Where runs are found. Any thread may call it; a call may read files or wait for a collector."""

    @property
    def place(self) -> str:
        """What was asked for, for people."""

    def runs(self) -> list[RunFacts]:
        """Return the runs that are there now, the newest first.

        Raises:
            RecordError: the place cannot be read.
        """

    def origin(self, key: str) -> EventOrigin:
        """Return where the events of a run come from.

        Raises:
            RecordError: there is no run of this key.
        """


class FolderListing:
    """The runs below a folder, in one run folder, or in one file.

    Args:
        root: the folder or the file.

    Raises:
        NotARecordError: there is no such path.
    """

    def __init__(self, root: Path) -> None:
        if not root.exists():
            raise NotARecordError("there is no such file or folder; check the path", path=str(root))
        self._root = root
        self._lock = threading.Lock()
        self._known: dict[str, tuple[object, RunFacts]] = {}

    @property
    def place(self) -> str:
        """The folder or file, as it was given."""
        return str(self._root)

    def runs(self) -> list[RunFacts]:
        """Return the runs that are there now, the newest first; one that cannot be read has a `problem`."""
        found = {key: self._facts(key, path) for key, path in self._places().items()}
        with self._lock:
            self._known = {key: known for key, known in self._known.items() if key in found}
        return sorted(found.values(), key=lambda facts: -(facts.started_ns or 0))

    def origin(self, key: str) -> EventOrigin:
        """Return the record files of a run as an origin of events.

        Raises:
            RecordError: there is no run of this key.
        """
        path = self._places().get(key)
        if path is None:
            raise RecordError(f"there is no run {key!r} here; reload the list of runs", path=self.place)
        return FileOrigin(path)

    def _places(self) -> dict[str, Path]:
        if self._root.is_file():
            return {_key(self._root.name.removesuffix(_SUFFIX)): self._root}
        places: dict[str, Path] = {}
        for folder in _folders_with_records(self._root, _DEEPEST):
            name = folder.name if folder == self._root else folder.relative_to(self._root).as_posix()
            places[_key(name)] = folder
            if len(places) >= _MOST_RUNS:
                break
        return places

    def _facts(self, key: str, path: Path) -> RunFacts:
        signature = _signature(path)
        with self._lock:
            known = self._known.get(key)
        # A run that is being written may end without a change of its files: its writer's lock is asked again.
        if known is not None and known[0] == signature and known[1].outcome != "running":
            return known[1]
        try:
            facts = run_facts(key, summarize(path), str(path))
        except (RecordError, OSError) as error:
            facts = RunFacts(key, key, place=str(path), problem=str(error))
        with self._lock:
            self._known[key] = signature, facts
        return facts


class CollectorListing:
    """The runs at a collector.

    Args:
        address: the collector, for people.
        source: how it is reached for events.
        ask: returns the summaries of its runs.
        only: the one run that is wanted; empty for all.
    """

    def __init__(
        self, address: str, source: LiveSource, ask: Callable[[], Iterator[RunSummary]], *, only: str = ""
    ) -> None:
        self._address = address
        self._source = source
        self._ask = ask
        self._only = only

    @property
    def place(self) -> str:
        """The collector."""
        return f"{self._address}/{self._only}" if self._only else self._address

    def runs(self) -> list[RunFacts]:
        """Return the runs at the collector, the newest first.

        Raises:
            RecordError: it does not answer, or refuses.
        """
        found = [
            _collector_facts(run, self._address) for run in self._ask() if not self._only or run.run_id == self._only
        ]
        return sorted(found, key=lambda facts: -(facts.started_ns or 0))

    def origin(self, key: str) -> EventOrigin:
        """Return a run at the collector as an origin of events.

        Raises:
            RecordError: it does not answer, or has no such run.
        """
        for run in self._ask():
            if _key(run.run_id) == key and (not self._only or run.run_id == self._only):
                return CollectorOrigin(
                    self._source, run.run_id, {each.producer_id: each.durable_seq for each in run.producers}
                )
        raise RecordError(f"there is no run {key!r} here; reload the list of runs", path=self.place)


def run_facts(key: str, summary: Summary, place: str) -> RunFacts:
    """Return the facts of a run from the summary of its record."""
    own = [stream for stream in summary.streams if not stream.parent] or summary.streams
    latest = max(stream.attempt for stream in own)
    main = min((stream for stream in own if stream.attempt == latest), key=lambda one: (not one.started, one.rank))
    firsts = [stream.first_time for stream in summary.streams if stream.first_time is not None]
    lasts = [stream.last_time for stream in summary.streams if stream.last_time is not None]
    facts = RunFacts(
        key,
        main.run_id,
        main.run_name,
        main.outcome,
        {str(name): str(value) for name, value in main.started.get("tags", {}).items()},
        min(firsts, default=None),
        max(lasts, default=None),
        sum(stream.events for stream in summary.streams),
        sum(stream.bytes for stream in summary.streams),
        sum(stream.missing for stream in summary.streams),
        len(summary.streams),
        len({stream.attempt for stream in own}),
        dict(main.finished.get("results", {})),
        host=main.host,
        place=place,
    )
    configured = main.configuration
    return facts if configured is None else replace(facts, settings=configured.settings)


def _collector_facts(run: RunSummary, address: str) -> RunFacts:
    connected = any(each.connected for each in run.producers)
    whole = run.producer_count <= len(run.producers)
    return RunFacts(
        _key(run.run_id),
        run.run_id,
        run.run_name,
        "running" if connected else "unknown",
        started_ns=min((each.started_unix_nano for each in run.producers), default=None),
        events=sum(each.durable_seq for each in run.producers) if whole else None,
        bytes=sum(each.stored_bytes for each in run.producers) if whole else None,
        streams=run.producer_count,
        host=next((each.host for each in run.producers), ""),
        place=address,
    )


def _folders_with_records(root: Path, depth: int) -> Iterator[Path]:
    """Yield the folders below `root` that hold record files, `root` among them; links are not followed downwards."""
    inner: list[Path] = []
    has_record = False
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                if entry.name.endswith(_SUFFIX) and not entry.name.startswith("."):
                    has_record = True
                elif depth and not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                    inner.append(Path(entry.path))
    except OSError:  # removed meanwhile, or not ours to read: it is no run that a page can open
        return
    if has_record:
        yield root
    for folder in sorted(inner):
        yield from _folders_with_records(folder, depth - 1)


def _signature(path: Path) -> object:
    files = [path] if path.is_file() else sorted(path.glob(f"*{_SUFFIX}"))
    found = []
    for file in files:
        try:
            stat = file.stat()
        except OSError:
            continue
        found.append((file.name, stat.st_size, stat.st_mtime_ns))
    return tuple(found)


def _key(name: str) -> str:
    """Return a name as one segment of an address; "~" takes the place of what would part it."""
    return name.replace("/", "~").replace("\\", "~") or "run"
