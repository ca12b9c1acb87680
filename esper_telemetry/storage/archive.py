"""The runs below a collector's folder, as its files tell: listed, weighed, pruned by age, deleted. It blocks.

What no stream is open for is kept nowhere but here: a sealed run costs the collector no memory. Names of folders tell
run ids, names of files whose they may be, headers whose they are. Files of other owners are left alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections import defaultdict
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.errors import ConfigError, RecordError, SinkError
from esper_telemetry.recordfile import SUFFIX, RecordReader, SegmentName
from esper_telemetry.recordfile.append import sync_folder
from esper_telemetry.storage.disk import claim_folder
from esper_telemetry.storage.naming import NAME_RULE, ProducerKey, is_name, run_folder, run_id_of
from esper_telemetry.storage.recovery import without_descriptors
from esper_telemetry.storage.segment_writer import OWNER_ATTRIBUTE
from esper_telemetry.v1 import collector_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from esper_telemetry.storage.segment_index import SegmentJournal
    from esper_telemetry.v1 import record_pb2


# What the folder of a deleted run is called until all of it is gone; no run id makes such a name.
_GRAVE = ".deleted-"

LOG = logging.getLogger("esper_telemetry.collector")


class WeighedSegment(NamedTuple):
    """A segment as its name and the file system tell.

    Attributes:
        written: when it was last written; wall clock, seconds since 1970 UTC.
        size: bytes.
        is_last: whether it is the last one of those that its name shares a producer with.
    """

    written: float
    size: int
    is_last: bool


class Weighed(NamedTuple):
    """What a run takes on the disk.

    Attributes:
        run_id: the run.
        segments: its segments.
        size: of all files in its folder, bytes.
        spared: it may not be deleted as a whole: a part of it is not where it is to be archived.
    """

    run_id: str
    segments: tuple[WeighedSegment, ...]
    size: int
    spared: bool = False


class Expired(NamedTuple):
    """Segments of a run that were deleted for their age.

    Attributes:
        run_id: the run.
        sizes: of the segments, bytes.
    """

    run_id: str
    sizes: list[int]


def run_ids(root: Path) -> list[str]:
    """Return the runs that have a folder below `root`, sorted."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(filter(None, (_run_id(folder) for folder in root.iterdir() if folder.is_dir())))
    return []


def run_bytes(root: Path, run_id: str) -> int:
    """Return what the files of a run take, bytes: those that were put aside as well."""
    return sum(found.st_size for _, found in _found(root / run_folder(run_id)))


def weigh(root: Path) -> list[Weighed]:
    """Return what every run takes: the files of each are looked up, none is opened."""
    with contextlib.suppress(FileNotFoundError), os.scandir(root) as entries:
        folders = [root / entry.name for entry in entries if entry.is_dir()]
        return [_weigh(run_id, folder) for folder in folders if (run_id := _run_id(folder)) is not None]
    return []


def _weigh(run_id: str, folder: Path) -> Weighed:
    total = 0
    named: list[tuple[SegmentName, os.stat_result]] = []
    last: dict[str, int] = {}
    for path, found in _found(folder):
        total += found.st_size
        name = SegmentName.parse(path)
        if name is not None:
            named.append((name, found))
            last[name.boot] = max(last.get(name.boot, 0), name.segment)
    segments = (WeighedSegment(at.st_mtime, at.st_size, last[name.boot] == name.segment) for name, at in named)
    return Weighed(run_id, tuple(segments), total)


def producers_of(root: Path, run_id: str) -> list[ProducerKey]:
    """Return the producers with a file of this collector in a run's folder."""
    found: set[ProducerKey] = set()
    for paths in _grouped(root / run_folder(run_id), lambda name: (name.boot, name.stream, name.rank, name.started)):
        found |= {ProducerKey(run_id, producer_id) for producer_id in filter(None, [_producer_of(paths[-1], run_id)])}
    return sorted(found)


def expire(
    root: Path,
    before: Callable[[str], float],
    kept: frozenset[ProducerKey],
    journal: SegmentJournal | None = None,
) -> list[Expired]:
    """Delete sealed segments that are older than is kept of their run, but the last one of each producer.

    Args:
        root: folder of runs.
        before: run id → wall clock, seconds since 1970 UTC: what was last written before that goes; 0 keeps all.
        kept: producers that are written to now: their own files know what may go.
        journal: asked before a file is deleted, and told.
    """
    gone = []
    for run_id in run_ids(root):
        outdated = [
            (key, path)
            for key, path in _outdated(root, run_id, before(run_id), kept)
            if journal is None or journal.may_delete(key, path.name)
        ]
        sizes = [size for key, path in outdated for size in _delete(path, key, journal)]
        if sizes:
            gone.append(Expired(run_id, sizes))
    return gone


def bury_run(root: Path, run_id: str, why: str = "on request") -> tuple[int, Path]:
    """Take a run away from every reader and writer at once; `remove` what is returned, or a start will.

    Args:
        root: folder of runs.
        run_id: the run.
        why: for the log.

    Returns:
        What its record files took, bytes; and where they are now.

    Raises:
        SinkError: the operating system refused; the run is as it was.
    """
    folder = root / run_folder(run_id)
    size, grave = run_bytes(root, run_id), root / f"{_GRAVE}{os.urandom(8).hex()}"
    try:
        if folder.is_symlink():
            raise OSError("it is a link; remove it by hand")  # noqa: TRY301 - told like what the system refuses
        folder.rename(grave)
    except OSError as error:
        raise SinkError(f"{folder}: cannot be deleted: {error}; check its permissions") from error
    sync_folder(root)
    LOG.warning("run %s: deleted %s, %d bytes", run_id, why, size)
    return size, grave


def remove(grave: Path) -> None:
    """Remove what was buried.

    Raises:
        SinkError: the operating system refused; the next start tries again.
    """
    try:
        shutil.rmtree(grave)
    except OSError as error:
        raise SinkError(f"{grave}: cannot be removed: {error}; remove it by hand") from error


def sweep(root: Path) -> list[str]:
    """Remove what a deletion left that was killed; return a sentence for each that cannot be."""
    problems = []
    for grave in root.glob(f"{_GRAVE}*"):
        try:
            remove(grave)
        except SinkError as error:
            problems.append(str(error))
    return problems


def header_of(path: Path) -> record_pb2.Header | None:
    """Return the header of a segment without its descriptors; None where it cannot be read."""
    with contextlib.suppress(RecordError), RecordReader(path) as reader:
        return without_descriptors(reader.header)
    return None


def _run_id(folder: Path) -> str | None:
    told = run_id_of(folder.name)
    if told is not None or not folder.name.startswith("=="):
        return told
    with contextlib.suppress(RecordError, StopIteration), RecordReader(next(folder.glob("*" + SUFFIX))) as reader:
        return reader.header.run_id
    return None


def _outdated(
    root: Path, run_id: str, before: float, kept: frozenset[ProducerKey]
) -> Iterator[tuple[ProducerKey, Path]]:
    """Yield the old segments of a run that are not the last of their producer.

    Its name tells whose a file may be: stream, rank and start change with each schema that a producer sends, a part of
    its id does not. Only where something may go do headers have to tell whose it is.
    """
    for paths in _grouped(root / run_folder(run_id), lambda name: name.boot):
        if not any(_is_older(path, before) for path in paths[:-1]):
            continue
        owned: defaultdict[bytes, list[Path]] = defaultdict(list)
        for path in paths:
            owned[_producer_of(path, run_id) or b""].append(path)
        owned.pop(b"", None)
        for producer_id, mine in owned.items():
            key = ProducerKey(run_id, producer_id)
            if key not in kept:
                yield from ((key, path) for path in mine[:-1] if _is_older(path, before))


def _grouped(folder: Path, key: Callable[[SegmentName], Any]) -> Iterator[list[Path]]:
    """Yield the segments in a folder whose names have the same key, by number."""
    named = [(name, path) for path in folder.glob("*" + SUFFIX) if (name := SegmentName.parse(path)) is not None]
    named.sort(key=lambda item: (key(item[0]), item[0].segment))
    for _, members in groupby(named, key=lambda item: key(item[0])):
        yield [path for _, path in members]


def _producer_of(path: Path, run_id: str) -> bytes | None:
    with contextlib.suppress(RecordError), RecordReader(path) as reader:
        header = reader.header
        if header.run_id == run_id and OWNER_ATTRIBUTE in header.attributes:
            return header.producer_id
    return None


def _found(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:  # half the price of glob, over many runs
        for entry in entries:
            with contextlib.suppress(OSError):
                yield folder / entry.name, entry.stat()


def _is_older(path: Path, before: float) -> bool:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime < before
    return False


def _delete(path: Path, key: ProducerKey, journal: SegmentJournal | None) -> Iterator[int]:
    with contextlib.suppress(OSError):
        size = path.stat().st_size
        if journal is not None:
            journal.dropped(key, [path.name])
        path.unlink()
        if journal is not None:
            journal.dropped(key, [path.name])
        LOG.info("run %s: retention deleted %s, %d bytes", key.run_id, path.name, size)
        yield size


def stored_run(root: Path, run_id: str) -> collector_pb2.RunSummary:
    """Return what the files of a run tell: producers by rank and start, without those of no collector."""
    run = collector_pb2.RunSummary(run_id=run_id)
    found: dict[bytes, collector_pb2.ProducerSummary] = {}
    for path in sorted((root / run_folder(run_id)).glob("*" + SUFFIX)):
        with contextlib.suppress(RecordError, OSError), RecordReader(path) as reader:
            header, last_seq = reader.header, reader.segments[0].last_seq
            if header.run_id != run_id or OWNER_ATTRIBUTE not in header.attributes:
                continue
            run.run_name = run.run_name or header.run_name
            summary = found.setdefault(header.producer_id, collector_pb2.ProducerSummary())
            summary.producer_id, summary.rank, summary.stream = header.producer_id, header.rank, header.stream
            summary.host, summary.started_unix_nano = header.host, header.anchor_unix_nano
            summary.durable_seq = max(summary.durable_seq, last_seq)
            summary.stored_bytes += reader.size
    run.producers.extend(sorted(found.values(), key=lambda each: (each.rank, each.started_unix_nano)))
    run.producer_count = len(found)
    return run


def delete_stored(root: Path, run_id: str) -> int:
    """Delete a run of a folder that no collector uses; return what its record files took, bytes.

    Raises:
        ConfigError: there is no such run, it is no collector's, or a collector runs on the folder.
        SinkError: the operating system refused.
    """
    if not is_name(run_id):
        raise ConfigError(f"run id {run_id[:200]!r} is not valid: {NAME_RULE}")
    if not stored_run(root, run_id).producers:  # before anything is made: it may be no folder of a collector
        raise ConfigError(f"{root}: no run {run_id!r} of a collector is here; esper-telemetry runs {root} names those")
    try:
        lock = claim_folder(root)
    except ConfigError:
        raise ConfigError(
            f"{root}: a collector runs on this folder; delete through it: esper-telemetry runs delete RUN HOST:PORT"
        ) from None
    with lock:
        size, grave = bury_run(root, run_id)
        remove(grave)
    return size
