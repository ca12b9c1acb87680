"""Sends sealed segments to object storage: each once, verified, listed in a manifest of its run.

URL/RUN/NAME.esr.zst is the file, byte for byte, so every verb that reads takes URL/RUN. URL/RUN/manifest.json lists
what is there: name, size, SHA-256, numbers, generation. The order makes a restart safe: a segment is put under its own
name (a store shows an object whole or not at all), read back and compared by its SHA-256, listed in the manifest, and
only then recorded in the index. Whatever dies in between, the same bytes are put under the same name again. Local
retention may delete only what the index has as archived.

A segment that was compacted has the numbers that it had, and replaces its object as the next generation. A segment
whose name is in the manifest with other numbers (its run was deleted here and sent again) is never sent: what the
archive has would be lost. It stays on the disk, and the log names it.

One thread, which no error ends; it waits longer and longer, a minute at most, for a store that refuses. One collector
writes below a URL. Nothing in the archive is deleted. Parts of an upload that was killed are for a lifecycle rule of
the bucket to remove.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.daemon.worker import WorkerThread
from esper_telemetry.errors import ConfigError, MissingExtraError, SinkError
from esper_telemetry.recordfile.remote import first_line, store_options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

    from esper_telemetry.daemon.failures import TaskFailures
    from esper_telemetry.storage.segment_index import IndexedSegment, SegmentIndex

LOG = logging.getLogger("esper_telemetry.collector")

MANIFEST_NAME = "manifest.json"
_FORMAT = 1
# Segments of a turn; their runs' manifests are put once a turn.
_A_TURN = 64
_IDLE_S = 2.0
# Runs of a turn that cannot be sent before the store is taken to be the reason.
_MOST_PROBLEMS = 2
_CHUNK_BYTES = 1 << 20


class ArchiveProgress(NamedTuple):
    """What a turn did.

    Attributes:
        waiting: segments that are not in object storage yet.
        segments, sent_bytes: what was sent and verified.
        failed: whether something could not be sent.
    """

    waiting: int
    segments: int
    sent_bytes: int
    failed: bool


class ObjectArchive:
    """Sends what the index lists as sealed. `start`, then `close`.

    Args:
        root: folder of runs.
        index: what is sealed, and what was sent.
        url: where to, such as "s3://bucket/runs"; credentials and endpoint are in the environment.
        on_progress: called after each turn, in a thread.
        failures: where turns that could send nothing are recorded.

    Raises:
        MissingExtraError: obstore is not installed.
        ConfigError: the URL is none that obstore knows.

    Attributes:
        problem: why the last turn could send nothing, as the first of such turns in a row found it; empty if it could.
    """

    def __init__(
        self,
        root: Path,
        index: SegmentIndex,
        url: str,
        on_progress: Callable[[ArchiveProgress], object],
        failures: TaskFailures,
    ) -> None:
        self._root = root
        self._index = index
        self._url = url
        self._on_progress = on_progress
        self._store = _open_store(url)
        self._manifests: dict[str, dict[str, dict[str, Any]]] = {}
        self._put_off: dict[str, None] = {}
        self.problem = ""
        self._told: set[str] = set()
        self._worker = WorkerThread("archive", self._pace, failures)

    def start(self) -> None:
        """Begin to send, in a thread of its own."""
        self._worker.start()

    def close(self, seconds: float) -> None:
        """End; an upload that is under way is waited for at most `seconds`, and sent again by the next start."""
        self._worker.end(seconds)

    def turn(self) -> ArchiveProgress:
        """Send some of what waits; it blocks. `problem` states what could not be sent.

        A run that cannot be sent (a file that cannot be read, a damaged manifest) is put off until the other runs are.
        """
        sent = size = 0
        problems: dict[str, str] = {}
        for folder, segments in self._next_runs().items():
            try:
                done = self._send_run(folder, segments)
            except Exception as error:  # noqa: BLE001 - a store has errors of its own, and none may keep other runs back
                self._manifests.clear()
                self._put_off[folder] = None
                problems[folder] = first_line(error)
                if len(problems) == _MOST_PROBLEMS and not sent:
                    break  # it is the store
            else:
                self._told.discard(folder)
                sent, size = sent + len(done), size + sum(one.size for one in done)
        if problems and not sent:
            folder, problem = next(iter(problems.items()))
            self.problem = self.problem or f"{self._url}: nothing can be archived: {folder}: {problem}"
        else:
            self.problem = ""
            self._tell(problems)
        progress = ArchiveProgress(self._index.count_not_archived(), sent, size, bool(problems or self._put_off))
        self._on_progress(progress)
        return progress

    def _next_runs(self) -> dict[str, list[IndexedSegment]]:
        runs = self._index.not_archived(_A_TURN, self._put_off)
        if not runs and self._put_off:  # all others are sent
            self._put_off.clear()
            runs = self._index.not_archived(_A_TURN)
        return runs

    def _pace(self) -> float:
        """Take a turn; return how long to wait for the next one, seconds.

        Raises:
            SinkError: nothing could be sent; the thread tries again, less and less often.
        """
        progress = self.turn()
        if self.problem:
            raise SinkError(f"{self.problem}; nothing that waits is deleted here")
        return 0.0 if progress.segments == _A_TURN else _IDLE_S

    def _tell(self, problems: dict[str, str]) -> None:
        """Log runs that cannot be sent though others are, each once."""
        for folder in problems.keys() - self._told:
            LOG.warning("%s: %s cannot be archived, and is tried again: %s", self._url, folder, problems[folder])
        self._told.update(problems)

    # --- one run ------------------------------------------------------------------------------------------------------

    def _send_run(self, folder: str, segments: list[IndexedSegment]) -> list[IndexedSegment]:
        """Send segments of a run, list them, record them; return those that were sent."""
        manifest = self._manifests.pop(folder, None)
        if manifest is None:
            manifest = self._read_manifest(folder)
        listed, recorded, sent = dict(manifest), list[tuple["IndexedSegment", str]](), list["IndexedSegment"]()
        for segment in segments:
            if self._worker.ending:
                break
            entry = manifest.get(segment.name)
            if entry is not None and not _holds_what(entry, segment):
                LOG.error(
                    "%s/%s: the archive has other numbers under this name (%d to %d, here %d to %d); it is not sent",
                    folder, segment.name, entry["first_seq"], entry["last_seq"], segment.first_seq, segment.last_seq,
                )  # fmt: skip
                recorded.append((segment, ""))
                continue
            sha256, is_new = self._send(folder, segment, entry)
            if not sha256:
                continue  # gone or replaced meanwhile: the index will state it
            listed[segment.name] = _entry(segment, sha256)
            recorded.append((segment, sha256))
            if is_new:
                sent.append(segment)
        if listed != manifest:
            document = {"format": _FORMAT, "segments": sorted(listed.values(), key=lambda each: str(each["name"]))}
            self._put(f"{folder}/{MANIFEST_NAME}", json.dumps(document, indent=1).encode())
        self._index.archive(folder, recorded)
        self._manifests = {folder: listed}  # the next turn goes on with it
        return sent

    def _send(self, folder: str, segment: IndexedSegment, entry: dict[str, Any] | None) -> tuple[str, bool]:
        """Put a segment and read it back; return its SHA-256, hex, and whether it was put.

        An empty SHA-256: the file is not the one that the index has.
        """
        key = f"{folder}/{segment.name}"
        try:
            file = (self._root / folder / segment.name).open("rb")
        except FileNotFoundError:
            return "", False
        with file:
            if not segment.is_of(os.fstat(file.fileno())):
                return "", False
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            if (
                entry is not None
                and (entry["size"], entry["sha256"]) == (segment.size, sha256)
                and self._is_there(key, segment)
            ):
                return sha256, False  # it was verified before it was listed
            file.seek(0)
            self._put(key, file)
        found = self._digest(key)
        if found != sha256:
            raise OSError(f"{key} was stored with SHA-256 {found}, its file has {sha256}")
        return sha256, True

    # --- the store ----------------------------------------------------------------------------------------------------

    def _put(self, key: str, data: bytes | BinaryIO) -> None:
        import obstore

        obstore.put(self._store, key, data)

    def _digest(self, key: str) -> str:
        import obstore

        digest = hashlib.sha256()
        for chunk in obstore.get(self._store, key).stream(min_chunk_size=_CHUNK_BYTES):
            digest.update(chunk)
        return digest.hexdigest()

    def _is_there(self, key: str, segment: IndexedSegment) -> bool:
        import obstore

        try:
            return int(obstore.head(self._store, key)["size"]) == segment.size
        except FileNotFoundError:
            return False

    def _read_manifest(self, folder: str) -> dict[str, dict[str, Any]]:
        import obstore

        try:
            data = bytes(obstore.get(self._store, f"{folder}/{MANIFEST_NAME}").bytes())
        except FileNotFoundError:
            return {}
        document = json.loads(data)
        if document.get("format") != _FORMAT:
            raise OSError(f"{folder}/{MANIFEST_NAME} has format {document.get('format')!r}, not {_FORMAT}")
        return {entry["name"]: entry for entry in document["segments"]}


def objection(url: str) -> str:
    """Return why nothing could be archived at a URL now; "" where its store answers. It blocks, for 20 s at most.

    Raises:
        MissingExtraError, ConfigError: as ObjectArchive.
    """
    store = _open_store(url)
    import obstore

    try:
        next(iter(obstore.list(store, chunk_size=1)), None)
    except Exception as error:  # noqa: BLE001 - a store has errors of its own
        return first_line(error)
    return ""


def _open_store(url: str) -> Any:
    try:
        from obstore.store import from_url
    except ModuleNotFoundError:
        raise MissingExtraError("the package 'obstore', which an archive needs,", "s3") from None
    try:
        return from_url(url, **({} if url.startswith(("file:", "memory:")) else store_options(url)))
    except Exception as error:
        raise ConfigError(f"--archive {url}: {first_line(error)}; give s3://BUCKET/PREFIX, gs:// or az://") from error


def _entry(segment: IndexedSegment, sha256: str) -> dict[str, Any]:
    return {
        "name": segment.name,
        "size": segment.size,
        "sha256": sha256,
        "producer_id": segment.producer_id.hex(),
        "segment": segment.segment,
        "first_seq": segment.first_seq,
        "last_seq": segment.last_seq,
        "file_id": segment.file_id.hex(),
        "generation": segment.generation,
    }


def _holds_what(entry: dict[str, Any], segment: IndexedSegment) -> bool:
    same = ("producer_id", "segment", "first_seq", "last_seq")
    mine = _entry(segment, "")
    return all(entry.get(name) == mine[name] for name in same)
